"""Which names tables, topics, stores and pipelines may have."""

from __future__ import annotations

import unicodedata

from penstock.site import Site

LONGEST = 63
_LANDING_VIEW = "_json"
_OURS = ("log", "penstock", "landing", "topics", "information_schema")


def check(site: Site, kind: str, name: object, longest: int = LONGEST) -> None:
    """Refuse a name that PostgreSQL would cut or that nobody could type.

    Quotes, spaces, reserved words and any letters are fine.

    Args:
        site: Where it is declared.
        kind: What is named, for the message.
        name: The name.
        longest: How many bytes of UTF-8 it may have.

    Raises:
        DeclarationError: It is no str, empty, too long, or holds control characters.
    """
    if not isinstance(name, str):
        raise site.error(f"the {kind}'s name must be a str, not {name!r}")
    if not name.strip():
        raise site.error(f"the {kind}'s name is empty: {name!r}; give it one")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        raise site.error(f"the {kind}'s name {name!r} holds control characters; leave them out")
    length = len(name.encode())
    if length > longest:
        raise site.error(
            f"the {kind}'s name {name!r} has {length} bytes, at most {longest} fit; shorten it"
        )


def check_landing(site: Site, name: object) -> None:
    """Refuse a landing's name as `check` does; its view is called `name_json`."""
    check(site, "landing", name, LONGEST - len(_LANDING_VIEW))


def check_store(site: Site, name: object) -> None:
    """Refuse a store's name as `check` does, or when Penstock uses it itself."""
    check(site, "store", name)
    assert isinstance(name, str)  # noqa: S101
    if name in _OURS or name.startswith("pg_"):
        raise site.error(
            f"the store's name {name!r} is Penstock's or PostgreSQL's own; choose another"
        )
    if "@" in name:
        raise site.error(f"the store's name {name!r} holds '@', which stands before a store")
