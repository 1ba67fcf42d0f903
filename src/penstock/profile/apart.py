"""The same systems with namespaces of their own, so that a trial touches nobody's data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from penstock.profile.file import Profile

VARIABLE = "PENSTOCK_NAMESPACE"
"""Environment variable that a trial gives to its runs: what is loaded is then set apart."""

REFERENCE = "PENSTOCK_REFERENCE"
"""Environment variable that makes of a profile what `on_one_machine` does."""

_EMBEDDED = "embedded:"
_WITHOUT_DATABASES = ("embedded", "kafka")


def apart(profile: Profile, namespace: str) -> Profile:
    """Put a namespace before the name of every database and keyspace.

    Args:
        profile: What is to be set apart. Embedded URLs stay, they have a folder of their own, and
            so do those of Kafka: the log's topics are named by the program, a store's by a prefix.
        namespace: Letters, digits and underscores.
    """
    return replace(
        profile,
        home=moved(profile.home, namespace),
        log=moved(profile.log, namespace),
        stores={
            name: replace(
                store,
                url=moved(store.url, namespace),
                prefix=f"{namespace}_{store.prefix}" if store.scheme == "kafka" else "",
            )
            for name, store in profile.stores.items()
        },
        formats={f"{namespace}_{topic}": given for topic, given in profile.formats.items()},
    )


def on_one_machine(profile: Profile) -> Profile:
    """Put everything but the registry on the embedded engine and PostgreSQL.

    Topics keep their formats, so that the same bytes are good or dead as in the profile.
    """
    return replace(
        profile,
        home=_EMBEDDED,
        log=_EMBEDDED,
        engine=None,
        stores={
            name: replace(
                store, url=f"{_EMBEDDED}?schema={quote(name, safe='')}", tables={}, prefix=""
            )
            for name, store in profile.stores.items()
        },
    )


def moved(url: str, namespace: str) -> str:
    """Put a namespace before the name of a URL's database or keyspace."""
    parts = urlsplit(url)
    if parts.scheme in _WITHOUT_DATABASES:
        return url
    folder, _, name = parts.path.rpartition("/")
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{folder}/{namespace}_{name}{query}"
