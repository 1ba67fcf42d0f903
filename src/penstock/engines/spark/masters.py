"""Spark's masters: dialled before Spark does, which takes a minute to say that nobody is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import Unavailable

_STANDALONE = "spark://"
_DIAL = 5.0
_UNHEARD = "All masters are unresponsive"


def dial(master: str) -> None:
    """See whether one of a standalone master's addresses answers.

    Args:
        master: Others than `spark://host:port,…` are left to Spark.

    Raises:
        Unavailable: None does.
    """
    if not master.startswith(_STANDALONE):
        return
    failures = []
    for address in master.removeprefix(_STANDALONE).split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _DIAL).close()
        except (OSError, ValueError) as error:
            failures.append(f"{address}: {getattr(error, 'strerror', None) or error}")
        else:
            return
    raise Unavailable(
        f"Spark's master {master} does not answer ({'; '.join(failures)}); "
        "start it (penstock services up spark), or correct engine in the profile"
    )


def patience(master: str) -> float:
    """Say how many seconds to wait for a first executor."""
    return 60.0 if master.startswith(("local", _STANDALONE)) else 300.0


@contextmanager
def explained(master: str, log: Path) -> Iterator[None]:
    """Say why a standalone master did not admit us, which Spark finds out within a minute.

    A master of another Spark understands nothing of what it is told, and does not answer.

    Args:
        master: As in `dial`.
        log: The driver's log.

    Raises:
        Unavailable: It did not admit us.
    """
    start = log.stat().st_size if log.exists() else 0
    try:
        yield
    except Exception as error:
        if _UNHEARD not in _since(log, start):
            raise
        from pyspark import __version__

        raise Unavailable(
            f"{master} answers, but did not admit this application: it must be a master of Spark "
            f"{__version__}, as the pyspark here is. The driver's log is {log}"
        ) from error


def _since(log: Path, start: int) -> str:
    return log.read_bytes()[start:].decode(errors="replace") if log.exists() else ""
