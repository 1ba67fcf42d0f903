"""Profiles: which home, log, engine and stores a program runs on. Secrets are never printed."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from penstock.errors import ProfileError

FILE = "penstock.toml"
EMBEDDED = "embedded"
_EMBEDDED_URL = "embedded:"
_SECRET = re.compile(
    r"(?i)\b((?:\w*password|\w*secret|\w*token|api_?key|access_?key)\s*=\s*)('[^']*'|[^\s&'\"]+)"
)


@dataclass(frozen=True)
class Store:
    """A system that sinks write to.

    Args:
        name: What programs call it.
        url: Where it is; holds secrets, so print `redact(url)` only.
    """

    name: str
    url: str = field(repr=False)

    @property
    def scheme(self) -> str:
        """The URL's scheme, such as `postgresql`; it chooses the sink."""
        return self.url.partition(":")[0]


@dataclass(frozen=True)
class Profile:
    """Where a program's pieces live. URLs hold secrets: print `redact(url)` only.

    Args:
        name: The profile's name.
        home: URL of the database where Penstock keeps its own state, or `embedded:`.
        log: URL of the system that holds the topics.
        registry: URL of a schema registry, if there is one.
        engine: URL of the engine; None is the embedded one.
        stores: The stores by name; those of the embedded profile are made by `store`.
    """

    name: str
    home: str = field(repr=False)
    log: str = field(repr=False)
    registry: str | None = field(default=None, repr=False)
    engine: str | None = field(default=None, repr=False)
    stores: Mapping[str, Store] = field(default_factory=dict)

    @property
    def embedded(self) -> bool:
        """Whether this is the built-in profile, which has every store that is asked for."""
        return self.name == EMBEDDED

    def store(self, name: str) -> Store:
        """Return a store by name.

        Raises:
            ProfileError: The profile has no such store.
        """
        if self.embedded:
            return Store(name, f"{_EMBEDDED_URL}?schema={quote(name, safe='')}")
        if name not in self.stores:
            known = ", ".join(map(repr, self.stores)) or "none"
            raise ProfileError(
                f"profile {self.name!r} has no store {name!r} (it has {known}); "
                f"add it under [profiles.{self.name}.stores]"
            )
        return self.stores[name]


def load(path: Path | str | None = None, name: str = EMBEDDED) -> Profile:
    """Read a profile.

    Variables `${NAME}` and `${NAME:-default}` are filled in from the environment after a URL is
    split, so that a password may hold any character; `$$` is a dollar.

    Args:
        path: The profile file; None is `penstock.toml` in the current folder.
        name: Which profile; `embedded` is built in and needs no file.

    Raises:
        ProfileError: The file or profile is missing or wrong, or a variable is not set.
    """
    if name == EMBEDDED:
        return Profile(EMBEDDED, _EMBEDDED_URL, _EMBEDDED_URL)
    file = Path(path or FILE)
    profiles = _read(file)
    if name not in profiles:
        known = ", ".join([EMBEDDED, *profiles])
        raise ProfileError(f"{file} has no profile {name!r}; there are {known}")
    return _profile(f"{file}: [profiles.{name}]", name, profiles[name])


def redact(text: str) -> str:
    """Replace the passwords and tokens of all connection strings in a text by `***`."""
    text = re.sub(r"([\w+.-]+://[^\s:/@?#]*):\S*@", r"\1:***@", text)
    return re.sub(_SECRET, r"\1***", text)


def _read(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(
            f"there is no profile file {file.absolute()}; create it or use the profile 'embedded'"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{file} is not TOML: {error}") from error
    profiles = document.get("profiles")
    if not isinstance(profiles, dict) or set(document) != {"profiles"}:
        raise ProfileError(f"{file} must hold tables [profiles.NAME] and nothing else")
    if EMBEDDED in profiles:
        raise ProfileError(f"{file}: the profile 'embedded' is built in; give yours another name")
    return profiles


def _profile(where: str, name: str, table: object) -> Profile:
    if not isinstance(table, dict):
        raise ProfileError(f"{where} must be a table")
    unknown = set(table) - {"home", "log", "registry", "engine", "stores"}
    if unknown:
        raise ProfileError(
            f"{where} has an unknown setting {sorted(unknown)[0]!r}; "
            "there are home, log, registry, engine and stores"
        )
    stores = table.get("stores", {})
    if not isinstance(stores, dict):
        raise ProfileError(f"{where} stores must be a table of URLs")
    urls = {key: _url(f"{where} {key}", value) for key, value in table.items() if key != "stores"}
    for key in ("home", "log"):
        if key not in urls:
            raise ProfileError(f"{where} lacks {key!r}: say where it is, as a URL")
    named = {key: Store(key, _url(f"{where} stores.{key}", url)) for key, url in stores.items()}
    home, log = urls.pop("home"), urls.pop("log")
    return Profile(name, home, log, urls.get("registry"), urls.get("engine"), named)


# --- variables in URLs ---------------------------------------------------------------------------

_VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|)")
_MARK = re.compile("\ue000(\\d+)\ue001")
_PLACES = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)"
    r"(?:(?P<user>[^:/?#]*?)(?::(?P<password>[^/?#]*))?@)?"
    r"(?P<host>[^@/?#]*)(?P<path>[^?#]*)(?P<query>.*)",
    re.DOTALL,
)


def _url(where: str, template: object) -> str:
    url = _filled(where, template)
    try:
        urlsplit(url)
    except ValueError as error:
        raise ProfileError(f"{where} is no URL: {error}") from None
    return url


def _filled(where: str, template: object) -> str:
    if not isinstance(template, str) or not template:
        raise ProfileError(f"{where} must be a URL, not {template!r}")
    values: list[str] = []

    def mark(match: re.Match[str]) -> str:
        values.append(_value(where, match))
        return f"\ue000{len(values) - 1}\ue001"

    marked = _VARIABLE.sub(mark, template)
    if _MARK.fullmatch(marked):
        return values[0]
    places = _PLACES.fullmatch(marked)
    if places is None:
        return _fill(marked, values, str)
    parts = places.groupdict(default="")
    user = _fill(_literal(parts["user"]), values, _quoted)
    password = _fill(_literal(parts["password"]), values, _quoted)
    login = f"{user}:{password}@" if places["password"] is not None else user and f"{user}@"
    host = _fill(parts["host"], values, lambda value: quote(value, safe=":,[]"))
    return "".join(
        [
            parts["scheme"],
            login,
            host,
            _fill(parts["path"], values, _quoted),
            _fill(parts["query"], values, _quoted),
        ]
    )


def _value(where: str, match: re.Match[str]) -> str:
    name, default = match.groups()
    if match[0] == "$$":
        return "$"
    if name is None:
        raise ProfileError(f"{where}: a lone '$'; write ${{NAME}} for a variable, $$ for a dollar")
    value = os.environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise ProfileError(f"{where} needs the environment variable {name}, which is not set")
    return value


def _fill(text: str, values: list[str], encode: Callable[[str], str]) -> str:
    return _MARK.sub(lambda mark: encode(values[int(mark[1])]), text)


def _literal(text: str) -> str:
    """Escape what a person typed raw into a user name or password; marks stay as they are."""
    return (
        quote(unquote(text), safe="\ue000\ue001")
        .replace("%EE%80%80", "\ue000")
        .replace("%EE%80%81", "\ue001")
    )


def _quoted(value: str) -> str:
    return quote(value, safe="")


# --- values that programs take from the environment ----------------------------------------------


@dataclass(frozen=True)
class EnvVar:
    """A value that is read from the environment when it is needed, never before.

    Args:
        name: The variable's name.
        default: What it is when the variable is not set; None makes that an error.
    """

    name: str
    default: str | None = None

    def resolve(self) -> str:
        """Read the variable.

        Raises:
            ProfileError: It is not set and has no default.
        """
        value = os.environ.get(self.name, self.default)
        if value is None:
            raise ProfileError(f"the environment variable {self.name} is not set; export it")
        return value


def env(name: str, default: str | None = None) -> EnvVar:
    """Name an environment variable, to be read when a source is opened: for addresses and secrets.

    Args:
        name: The variable's name.
        default: What it is when the variable is not set.
    """
    return EnvVar(name, default)
