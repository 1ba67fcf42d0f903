"""Where files come from and where they are kept."""

from __future__ import annotations

import os
from pathlib import Path

import httpx

from penstock.errors import ProfileError
from penstock.profile import redact

MIRROR = "PENSTOCK_MAVEN_MIRROR"
CACHE = "PENSTOCK_CACHE"


def repository(mirror: str | None = None) -> str:
    """Return the base URL of the Maven repository to fetch from, without a slash at its end.

    Args:
        mirror: What penstock.toml says; the environment goes first, then this, then the public one.

    Raises:
        ProfileError: The mirror is no URL, or none is given and nothing here knows the public one.
    """
    if not (given := os.environ.get(MIRROR) or mirror):
        return _central()
    try:
        url = httpx.URL(str(given))
    except httpx.InvalidURL as error:
        raise ProfileError(f"the Maven mirror {redact(str(given))} is no URL: {error}") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ProfileError(
            f"the Maven mirror {redact(str(given))} is no URL of http or https; set {MIRROR}, or "
            "mirror under [services] in penstock.toml, to something like "
            "https://maven.example.com/central"
        )
    return given.rstrip("/")


def _central() -> str:
    try:
        from jgo.constants import MAVEN_CENTRAL_URL
    except ModuleNotFoundError:
        raise ProfileError(
            "nothing here knows where Maven Central is; run pip install 'penstock[services]', or "
            f"name a mirror: {MIRROR}, or mirror under [services] in penstock.toml"
        ) from None
    return str(MAVEN_CENTRAL_URL)


def cache() -> Path:
    """Return the folder of fetched files; it may not exist yet.

    Raises:
        ProfileError: Nothing says where this user's folders are.
    """
    if given := os.environ.get(CACHE):
        return Path(given).expanduser().absolute()
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = home if home.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        raise ProfileError(
            f"this user has no home folder to keep fetched files in; set {CACHE} to a folder"
        ) from None
    return base / "penstock"
