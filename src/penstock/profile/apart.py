"""The same systems with namespaces of their own, so that a trial touches nobody's data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from penstock.profile.file import Profile

VARIABLE = "PENSTOCK_NAMESPACE"
"""Environment variable that a crash test gives to its runs: `load` then sets profiles apart."""


def apart(profile: Profile, namespace: str) -> Profile:
    """Put a namespace before the name of every database, keyspace and topic.

    Args:
        profile: What is to be set apart; embedded URLs stay, they have a folder of their own.
        namespace: Letters, digits and underscores.
    """
    return replace(
        profile,
        home=moved(profile.home, namespace),
        log=moved(profile.log, namespace),
        stores={
            name: replace(store, url=moved(store.url, namespace))
            for name, store in profile.stores.items()
        },
    )


def moved(url: str, namespace: str) -> str:
    """Put a namespace before the name of a URL's database, keyspace or topics."""
    parts = urlsplit(url)
    if parts.scheme == "embedded":
        return url
    folder, _, name = parts.path.rpartition("/")
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{folder}/{namespace}_{name}{query}"
