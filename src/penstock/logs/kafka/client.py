"""Clients of a Kafka cluster: their settings, and calls that end in a bounded time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from penstock.errors import PenstockError, Refused, Unavailable
from penstock.logs.kafka import address, certificates
from penstock.logs.kafka.errors import UNTRUSTED, errors, translated, untrusted

Result = TypeVar("Result")

PATIENCE = 10.0
"""Seconds until a cluster that does not answer is said to be away."""

_GLANCE = 0.1
"""Seconds between two looks at why an answer does not come."""

_VAGUE = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}


def settings(url: str) -> dict[str, Any]:
    """Return the settings that every client of librdkafka for this URL needs.

    A client that comes back soon after a broker does, and writes nothing to stderr. They hold the
    password: never print them.

    Raises:
        ProfileError: The URL is wrong.
    """
    return {
        **address.read(url).settings,
        "client.id": "penstock",
        "log_level": 0,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "socket.keepalive.enable": True,
        "socket.nagle.disable": True,
    }


class Causes:
    """Remembers what went wrong on a client's connections, to say why an answer does not come.

    Pass the object as `error_cb`.

    Args:
        url: Of the cluster.
    """

    def __init__(self, url: str) -> None:
        self._address = address.read(url)
        self._seen: deque[KafkaError] = deque(maxlen=8)

    def __call__(self, error: KafkaError) -> None:
        """Take note; librdkafka calls this while a client is polled."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # the others say why
            self._seen.append(error)

    def final(self) -> Refused | None:
        """Return why waiting is of no use, if that was said."""
        for seen in self._seen:
            error = translated(seen, self._address.words)
            if isinstance(error, Refused):
                return self._explained(seen.str()) or error
        return None

    def away(self) -> PenstockError:
        """Return the best known reason why nobody answers."""
        if final := self.final():
            return final
        if self._seen:
            return translated(self._seen[-1], self._address.words)
        return Unavailable(
            f"{self._address.words} does not answer; check host and port, and whether it wants "
            "tls=true or a login. Trying again"
        )

    def clear(self) -> None:
        """Forget: there was an answer."""
        self._seen.clear()

    def _explained(self, message: str) -> Refused | None:
        if UNTRUSTED not in message:
            return None
        ca = self._address.settings.get("ssl.ca.location")
        fault = certificates.fault(message, None if ca is None else str(ca))
        return untrusted(self._address.words, fault) if fault else None


class Admin:
    """An admin client whose calls give up after `PATIENCE` and say why.

    Args:
        url: Of the cluster.

    Raises:
        ProfileError: The URL is wrong.
    """

    def __init__(self, url: str) -> None:
        self.words = address.read(url).words
        self._causes = Causes(url)
        config: dict[str, Any] = {**settings(url), "error_cb": self._causes}
        with errors(self.words):
            self.client = AdminClient(config)

    def result(self, future: Future[Result], words: str = "") -> Result:
        """Wait for one answer.

        Args:
            future: As the client's methods give them.
            words: What was asked about, for messages; the cluster by default.

        Raises:
            Unavailable: There is no answer, or it is to try again.
            Refused: The answer is no, or the login is.
        """
        self.await_all([future])
        with errors(words or self.words):
            return future.result()

    def await_all(self, futures: Iterable[Future[Any]]) -> None:
        """Wait until all have an answer, be it an error.

        Raises:
            Unavailable: There is none in time.
            Refused: The login fails.
        """
        asked, deadline = list(futures), time.monotonic() + PATIENCE
        while wait(asked, _GLANCE).not_done:
            self.client.poll(0)
            if final := self._causes.final():
                raise final
            if time.monotonic() > deadline:
                raise self._causes.away()
        self.client.poll(0)
        if any(_silent(future) for future in asked):
            raise self._causes.away()
        self._causes.clear()


def _silent(future: Future[Any]) -> bool:
    """Whether the answer is that there is none."""
    error = future.exception()
    return error is not None and error.args[0].code() in _VAGUE


def admin(url: str) -> Admin:
    """Connect to a cluster to ask about its topics; nothing is dialled yet."""
    return Admin(url)
