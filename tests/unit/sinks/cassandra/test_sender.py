"""The sender keeps at it while it makes progress, eases off when told to, and ends in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import cassandra
import pytest
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import OverloadedErrorMessage

from penstock.errors import Refused, Rejected, Unavailable
from penstock.sinks.cassandra import sender
from penstock.sinks.cassandra.batches import Batch
from penstock.sinks.cassandra.cells import Packed
from penstock.sinks.cassandra.sender import Sender

Answer = Callable[[bytes], Exception | None]


class Future:
    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def add_callbacks(self, done: Callable[[Any], None], failed: Callable[[Any], None]) -> None:
        done(None) if self._error is None else failed(self._error)


class Cluster:
    """Answers each batch at once, as the test says; a row is one byte."""

    place = "Cassandra"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.taken: Counter[int] = Counter()
        self.hosts: list[Any] = []

    def start(self, statement: Any, host: Any = None) -> Future:
        rows = bytes(statement._statements_and_parameters.body)
        self.hosts.append(host)
        error = self._answer(rows)
        if error is None:
            self.taken.update(rows)
        return Future(error)


def batches(*rows: bytes) -> list[Batch]:
    return [
        Batch(Packed(memoryview(some), range(len(some) + 1)), 0, len(some), [*some], "near")
        for some in rows
    ]


def send(answer: Answer, *rows: bytes, **options: Any) -> tuple[Cluster, list[float]]:
    cluster, waits = Cluster(answer), list[float]()
    Sender(cluster, waits.append).send(batches(*rows), **options)  # type: ignore[arg-type]
    return cluster, waits


class Sometimes:
    """Fails the first tries of every batch."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = errors
        self._tries: Counter[bytes] = Counter()

    def __call__(self, rows: bytes) -> Exception | None:
        self._tries[rows] += 1
        tried = self._tries[rows] - 1
        return self._errors[tried] if tried < len(self._errors) else None


OVERLOADED: Exception = OverloadedErrorMessage(0x1001, "too much", None)
PASSING = (
    OVERLOADED,
    cassandra.WriteTimeout(
        "slow", write_type=0, consistency=6, required_responses=2, received_responses=1
    ),
    cassandra.Unavailable("few", consistency=6, required_replicas=2, alive_replicas=1),
    cassandra.OperationTimedOut(),
    NoHostAvailable("none", {}),
)


def test_every_batch_arrives_once() -> None:
    cluster, waits = send(lambda rows: None, b"abc", b"de", b"f")
    assert cluster.taken == Counter(b"abcdef")
    assert waits == []


def test_what_fails_for_a_while_is_sent_again_elsewhere() -> None:
    cluster, waits = send(Sometimes(*PASSING), b"abc", b"de", b"f")
    assert cluster.taken == Counter(b"abcdef")
    assert len(waits) == 3 * len(PASSING)
    assert cluster.hosts[:1] == ["near"]
    assert cluster.hosts[-1] is None


def test_an_overloaded_cluster_gets_fewer_at_once() -> None:
    cluster = Cluster(Sometimes(*[OVERLOADED] * 4))
    under_test = Sender(cluster, lambda seconds: None)  # type: ignore[arg-type]
    under_test.send(batches(b"a"))
    assert under_test._window < sender.IN_FLIGHT / 8


@pytest.mark.parametrize("error", PASSING)
def test_nothing_for_a_while_is_unavailable(error: Exception) -> None:
    now = [0.0]
    cluster = Cluster(lambda rows: error)

    def wait(seconds: float) -> None:
        assert 0 <= seconds <= 1
        now[0] += 0.5

    with pytest.raises(Unavailable):
        Sender(cluster, wait, lambda: now[0]).send(batches(b"abc"))  # type: ignore[arg-type]
    assert sender.PATIENCE < now[0] <= sender.PATIENCE + 1


def test_a_rejected_row_is_found_alone() -> None:
    guilty: dict[int, Rejected] = {}
    cluster, _ = send(
        lambda rows: cassandra.InvalidRequest("no") if b"d" in rows else None,
        b"abcdefgh",
        b"ijk",
        guilty=guilty.__setitem__,
    )
    assert [*guilty] == [ord("d")]
    assert cluster.taken == Counter(b"abcefghijk")


def test_a_batch_too_large_is_cut_and_nobody_is_guilty() -> None:
    cluster, _ = send(
        lambda rows: cassandra.InvalidRequest("Batch too large") if len(rows) > 2 else None,
        b"abcdefgh",
    )
    assert cluster.taken == Counter(b"abcdefgh")


def test_without_a_list_the_first_rejected_row_is_raised() -> None:
    with pytest.raises(Rejected, match="no"):
        send(lambda rows: cassandra.InvalidRequest("no"), b"ab")


def test_a_final_no_is_raised_at_once() -> None:
    with pytest.raises(Refused, match="GRANT"):
        send(lambda rows: cassandra.Unauthorized("not you"), b"ab")


@pytest.mark.parametrize(("seconds", "more"), [(0.01, True), (1.5, False)])
def test_a_slow_cluster_gets_fewer_at_once_before_it_fails(seconds: float, more: bool) -> None:
    now = [0.0]

    def answer(rows: bytes) -> None:
        now[0] += seconds

    under_test = Sender(Cluster(answer), now=lambda: now[0])  # type: ignore[arg-type]
    under_test.send(batches(*[b"a"] * 40))
    assert (under_test._window > sender.FIRST) is more
    assert 1 <= under_test._window <= sender.IN_FLIGHT
