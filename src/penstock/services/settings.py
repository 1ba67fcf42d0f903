"""What a server started here is to be like: its port, memory and folder, from `[services.NAME]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock import units
from penstock.errors import ProfileError

_MEMORY = re.compile(r"[1-9]\d*[mMgG]")
_LAST_PORT = 65535


@dataclass(frozen=True)
class Settings:
    """The settings of one server.

    Args:
        port: Where it listens, on 127.0.0.1.
        internal_port: For the server's own business; the one after `port` unless set.
        memory: What it may use at most, such as `512m`: the heap of a Java server, the shared
            buffers of PostgreSQL.
        data: The server's folder: data, configuration and log.
        timeout: Seconds that a start may take.
        settings: The server's own settings, passed through as they are.
    """

    port: int
    internal_port: int
    memory: str
    data: Path
    timeout: float = 120.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ports(self) -> Mapping[str, int]:
        """Both ports, by the setting that changes each."""
        return {"port": self.port, "internal_port": self.internal_port}


@dataclass(frozen=True)
class Defaults:
    """What a kind of server gets when nothing is set; its folder lies below `.penstock`.

    `own` are the settings that only this kind has; it reads them itself.
    """

    port: int
    memory: str
    folder: str
    own: tuple[str, ...] = ()


def read(name: str, table: Mapping[str, Any], defaults: Defaults, root: Path) -> Settings:
    """Check a table `[services.NAME]` and fill in what it leaves out.

    Args:
        name: The server's name, for messages.
        table: The table as it was read.
        defaults: What this kind of server gets.
        root: The folder for the server's folder unless `data` is set.

    Raises:
        ProfileError: A setting is unknown or has a wrong value.
    """
    where = f"[services.{name}]"
    if not isinstance(table, Mapping):
        raise ProfileError(f"{where} must be a table, not {table!r}")
    known = (*Settings.__dataclass_fields__, *defaults.own)
    if strange := set(table) - {*known}:
        raise ProfileError(
            f"{where} has an unknown setting {sorted(strange)[0]!r}; "
            f"there are {', '.join(known)}; "
            f"what {name} itself knows goes under [services.{name}.settings]"
        )
    port = _port(f"{where} port", table.get("port", defaults.port))
    data = table.get("data", root / defaults.folder)
    if not isinstance(data, str | Path) or not str(data):
        raise ProfileError(f"{where} data must be the path of a folder, not {data!r}")
    own = table.get("settings", {})
    if not isinstance(own, Mapping):
        raise ProfileError(f"{where} settings must be a table, not {own!r}")
    return Settings(
        port,
        _port(f"{where} internal_port", table.get("internal_port", port % _LAST_PORT + 1)),
        _memory(f"{where} memory", table.get("memory", defaults.memory)),
        Path(data).expanduser().resolve(),
        _timeout(f"{where} timeout", table.get("timeout", "2m")),
        own,
    )


def whole(where: str, value: object, least: int) -> int:
    """Check a setting that is a whole number.

    Raises:
        ProfileError: It is none, or less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ProfileError(f"{where} must be a whole number from {least} on, not {value!r}")
    return value


def as_text(value: object) -> str:
    """Write a value as properties files and command lines want it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _port(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LAST_PORT:
        raise ProfileError(f"{where} must be a number from 1 to {_LAST_PORT}, not {value!r}")
    return value


def _memory(where: str, value: object) -> str:
    if not isinstance(value, str) or not _MEMORY.fullmatch(value):
        raise ProfileError(f"{where} must be a size such as '512m' or '1g', not {value!r}")
    return value.lower()


def _timeout(where: str, value: object) -> float:
    try:
        return units.seconds(str(value))
    except ValueError as error:
        raise ProfileError(f"{where}: {error}") from None
