"""Spark's masters: dialled before Spark does, which takes a minute to say that nobody is there."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import Refused, Unavailable

_STANDALONE = "spark://"
_DIAL = 5.0
_ADMISSION = 100.0
_OTHER_SPARK = re.compile("InvalidClassException|StreamCorruptedException|ClassNotFoundException")


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
def limit(master: str, log: Path, kill: Callable[[], None]) -> Iterator[None]:
    """Bound the time that a standalone master takes to admit us; Spark would wait for long.

    Args:
        master: As in `dial`.
        log: The driver's log, which knows what the master said.
        kill: Ends the JVM.

    Raises:
        Refused: The master is of another Spark than ours.
        Unavailable: It did not admit us in time.
    """
    if not master.startswith(_STANDALONE):
        yield
        return
    late = threading.Event()
    start = log.stat().st_size if log.exists() else 0

    def give_up() -> None:
        late.set()
        kill()

    timer = threading.Timer(_ADMISSION, give_up)
    timer.start()
    try:
        yield
    except Exception as error:
        said = log.read_bytes()[start:].decode(errors="replace") if log.exists() else ""
        if _OTHER_SPARK.search(said):
            raise Refused(_other_spark(master)) from error
        if late.is_set():
            raise Unavailable(
                f"{master} answers, but did not admit this application in {_ADMISSION:.0f} s: is "
                f"that Spark's master? The driver's log is {log}"
            ) from error
        raise
    finally:
        timer.cancel()


def _other_spark(master: str) -> str:
    from pyspark import __version__

    return (
        f"{master} is of another Spark than this pyspark {__version__}: install the pyspark of "
        f"the master's version here, or Spark {__version__} there"
    )
