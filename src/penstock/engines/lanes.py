"""A lane at work: its sink on the one thread it lives on, and where it stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from penstock.errors import Fenced, PenstockError, Refused, Unavailable
from penstock.interfaces import Capabilities, Sink, SinkFactory
from penstock.records import Counts, Progress

SLOW = 2.0
"""Seconds for a micro-batch from which on a lane may be too slow for its group."""

SLOWER = 5.0
"""How many times slower than the next one."""

T = TypeVar("T")


class LanesDown(Unavailable):
    """The stores of some lanes are away or refuse; the other lanes have gone on.

    Args:
        errors: For each lane what its store said: `Unavailable`, or `Refused` for a final no.
    """

    def __init__(self, errors: Mapping[str, Unavailable | Refused]) -> None:
        """Join what was said."""
        super().__init__("; ".join(f"{lane}: {error}" for lane, error in errors.items()))
        self.errors = dict(errors)


class LaneWriter:
    """Runs a lane's sink on a thread of its own and knows where the lane stands.

    Args:
        name: The lane's name.
        factory: Makes the sink; called on the lane's thread, again after its store was away.
    """

    def __init__(self, name: str, factory: SinkFactory) -> None:
        self.name = name
        self.progress: dict[int, Progress] = {}
        self.oldest: Mapping[int, int] = {}
        """The oldest offsets that the log keeps: where a lane begins that is new."""
        self.capabilities = Capabilities()
        """What its sink can do; known once it is claimed."""
        self.busy = 0.0
        """Seconds that a micro-batch takes this lane lately, to stage and to commit."""
        self._factory = factory
        self._sink: Sink | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    @property
    def alone(self) -> bool:
        """Whether the lane moves on its own: its store wants few and large commits."""
        return self.capabilities.least_commit_interval > 0

    @property
    def starts(self) -> dict[int, int]:
        """For each partition the next offset to be taken."""
        return {partition: self._start(partition) for partition in self.progress}

    def _start(self, partition: int) -> int:
        progress = self.progress[partition]
        new = progress.next == 0 and progress.totals == Counts()
        return self.oldest.get(partition, 0) if new else progress.next

    def submit(self, work: Callable[[Sink], T]) -> Future[T]:
        """Run `work` with the open sink on the lane's thread."""
        return self._thread.submit(self._work, work)

    def claim(self, epochs: Mapping[int, int]) -> None:
        """Open the sink if need be, take the partitions and learn where the lane stands.

        Raises `Unavailable`, `Refused` or `Fenced` as the sink does.
        """
        self.begin_claim(epochs).result()

    def begin_claim(self, epochs: Mapping[int, int]) -> Future[None]:
        """Do what `claim` does, without waiting for its end."""
        return self._thread.submit(self._claim, epochs)

    def took(self, seconds: float) -> None:
        """Take a micro-batch's time into account."""
        self.busy += (seconds - self.busy) / 4

    def claim_again(self) -> None:
        """Connect anew and learn what a commit with an unknown outcome did; on any thread."""
        epochs = {partition: progress.epoch for partition, progress in self.progress.items()}
        self.claim(epochs)

    def _claim(self, epochs: Mapping[int, int]) -> None:
        if self._sink is None:
            sink = self._factory()
            sink.open()
            self._sink = sink
            self.capabilities = sink.capabilities
        else:
            self._sink.rollback()
        self.progress = dict(self._work(lambda sink: self._claimed(sink, epochs)))

    @staticmethod
    def _claimed(sink: Sink, epochs: Mapping[int, int]) -> Mapping[int, Progress]:
        progress = sink.claim(epochs)
        sink.sweep(min(epochs.values()))
        return progress

    def _work(self, work: Callable[[Sink], T]) -> T:
        if self._sink is None:
            raise Unavailable(f"{self.name} is not connected")
        try:
            return work(self._sink)
        except Unavailable:
            self._drop()
            raise

    def _drop(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def close(self) -> None:
        """Close the sink and end the thread."""
        self._thread.submit(self._drop)
        self._thread.shutdown(wait=True)


def claim_all(
    writers: Sequence[LaneWriter], epochs: Mapping[int, int]
) -> dict[str, Unavailable | Refused]:
    """Claim for all lanes at once; returns those whose stores are away or refuse."""
    _, errors = gather({writer.name: writer.begin_claim(epochs) for writer in writers})
    return lone(errors)


def lone(errors: Mapping[str, PenstockError]) -> dict[str, Unavailable | Refused]:
    """Tell which errors concern their own lane only; raises what ends all of them."""
    found = {n: e for n, e in errors.items() if isinstance(e, Unavailable | Refused)}
    raise_final([error for name, error in errors.items() if name not in found])
    return found


def slow(writers: Sequence[LaneWriter]) -> LaneWriter | None:
    """Find the lane that the others wait for: many times slower than the next one, and long."""
    if len(writers) < 2:
        return None
    *_, second, last = sorted(writers, key=lambda writer: writer.busy)
    return last if last.busy > max(SLOW, SLOWER * second.busy) else None


def gather(futures: Mapping[str, Future[T]]) -> tuple[dict[str, T], dict[str, PenstockError]]:
    """Wait for all; results and errors apart. An error that is not ours is raised."""
    wait(futures.values())
    results: dict[str, T] = {}
    errors: dict[str, PenstockError] = {}
    for name, future in futures.items():
        error = future.exception()
        if error is None:
            results[name] = future.result()
        elif isinstance(error, PenstockError):
            errors[name] = error
        else:
            raise error
    return results, errors


def raise_final(errors: Collection[PenstockError]) -> None:
    """Raise what ends all lanes: a fence first."""
    for kind in (Fenced, PenstockError):
        for error in errors:
            if isinstance(error, kind):
                raise error


def least(writers: Sequence[LaneWriter]) -> dict[int, int]:
    """Where the hindmost lane stands, by partition."""
    starts = [writer.starts for writer in writers]
    return {p: min(s[p] for s in starts if p in s) for p in sorted(set().union(*starts))}
