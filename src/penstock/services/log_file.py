"""The log file of a server: appended to by every start, read when something goes wrong."""

from __future__ import annotations

from pathlib import Path

_LIMIT = 16 << 20
_LINE = 1024


def tail(log: Path, lines: int = 12, start: int = 0) -> str:
    """Return the last lines of a log, of those after the byte `start`."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - (lines * _LINE)))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def log_start(log: Path) -> int:
    """Put a large log aside; say where the next start's lines will begin."""
    log.touch()
    if log.stat().st_size > _LIMIT:
        log.replace(log.with_suffix(".old.log"))
        log.touch()
    return log.stat().st_size
