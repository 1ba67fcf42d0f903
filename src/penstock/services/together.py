"""Several servers at once: none of them needs another to start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

from penstock.errors import PenstockError, Refused, Unavailable
from penstock.services.server import Service


def up(services: Sequence[Service], say: Callable[[str], object]) -> None:
    """Start servers side by side; return when all are ready, or have failed.

    What is ready stays when another fails; what failed is stopped. An interrupt stops those that
    are not ready yet.

    Args:
        services: The servers.
        say: Gets a line when one is ready.

    Raises:
        Refused: One cannot run here; the message has every failure.
        Unavailable: None was refused, and one was killed or does not answer in time.
    """
    stopping = threading.Event()
    with ThreadPoolExecutor(len(services) or 1) as pool:
        begun = {pool.submit(_timed, service, stopping): service for service in services}
        try:
            _tell(begun, say)
        except BaseException:
            stopping.set()
            raise
    _raise(list(begun))


def down(services: Sequence[Service]) -> None:
    """Stop servers side by side; one that cannot be stopped does not keep the others up.

    Args:
        services: The servers.

    Raises:
        Refused: One cannot be stopped from here; the message has every failure.
        Busy: The embedded one is used by a command.
    """
    with ThreadPoolExecutor(len(services) or 1) as pool:
        begun = [pool.submit(service.down) for service in services]
    _raise(begun)


def _tell(begun: Mapping[Future[float], Service], say: Callable[[str], object]) -> None:
    for done in as_completed(begun):
        if done.exception() is None:
            say(f"{begun[done].name} is ready after {done.result():.1f} s")


def _timed(service: Service, stopping: threading.Event) -> float:
    begin = time.monotonic()
    service.up(stopping)
    return time.monotonic() - begin


def _raise(begun: Sequence[Future[Any]]) -> None:
    errors = [error for done in begun if (error := done.exception())]
    for error in errors:
        if len(errors) == 1 or not isinstance(error, PenstockError):
            raise error
    if errors:
        kind = Refused if any(isinstance(error, Refused) for error in errors) else Unavailable
        raise kind("\n\n".join(map(str, errors)))
