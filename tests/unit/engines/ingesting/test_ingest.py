"""The source loop on scripted sources and a landing in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event, Lock

import pytest

from penstock.engines.ingesting.ingest import Ingest
from penstock.engines.status import Board, State
from penstock.errors import Fenced, Refused, Unavailable
from penstock.faults import Stopped
from penstock.interfaces import Clock, Cursor, Framing, Response

Step = Response | BaseException | Callable[[Clock], None]


class Script:
    """A source whose polls are lists of steps: a response, an error, or something to do."""

    framing = Framing()

    def __init__(self, *polls: Sequence[Step], every: float | None = None) -> None:
        self.every = every
        self.polls = list(polls)
        self.cursors: list[Cursor] = []
        self.closed = 0

    def describe(self) -> str:
        return "script"

    def check(self) -> None: ...

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        self.cursors.append(cursor)
        try:
            for step in self.polls.pop(0):
                if isinstance(step, Response):
                    yield step
                elif isinstance(step, BaseException):
                    raise step
                else:
                    step(clock)
        finally:
            self.closed += 1


class MemoryLanding:
    """What `Ingest` needs of a landing; `trouble` is raised by the next appends."""

    name = "raw"

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.appends: list[int] = []
        self.at: Cursor = None
        self.runs: set[str] = set()
        self.trouble: list[BaseException] = []

    def cursor(self, run_id: str | None = None) -> Cursor:
        return self.at

    def append(
        self, responses: Sequence[Response], run_id: str | None = None, *, finished: bool = False
    ) -> None:
        if self.trouble:
            raise self.trouble.pop(0)
        self.bodies += [r.body for r in responses]
        self.appends.append(len(responses))
        self.at = responses[-1].cursor if responses else self.at
        if run_id is not None and finished:
            self.runs.add(run_id)

    def finished(self, run_id: str) -> bool:
        return run_id in self.runs


class FakeClock:
    """Time passes by waiting only; may be told to stop after some waits."""

    def __init__(self, waits: int = 1000) -> None:
        self.waits: list[float] = []
        self.left = waits
        self.lock = Lock()
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def wait(self, seconds: float) -> None:
        with self.lock:
            if self.left == 0:
                raise Stopped
            if seconds > 0:
                self.left -= 1
                self.waits.append(seconds)
                self.time += timedelta(seconds=seconds)


class Scene:
    """An `Ingest` with everything around it, and what it said."""

    def __init__(self, source: Script, clock: FakeClock | None = None) -> None:
        self.source = source
        self.landing = MemoryLanding()
        self.clock = clock or FakeClock()
        self.said: list[str] = []
        self.board = Board(lambda event: self.said.append(event.message))
        self.board.add_source("raw", "script")
        self.ingest = Ingest(source, self.landing, self.clock, self.board, jitter=lambda top: top)

    @property
    def state(self) -> State:
        return self.board.snapshot().sources[0].state


def response(n: int, *, cut_off: bool = False) -> Response:
    return Response(b"%d" % n, n, cut_off=cut_off)


def test_a_source_is_landed_to_its_end() -> None:
    scene = Scene(Script([response(1), response(2)]))
    scene.ingest.run()
    assert scene.landing.bodies == [b"1", b"2"]
    assert scene.state is State.FINISHED
    assert scene.board.snapshot().sources[0].responses == 2
    assert scene.source.closed == 1


def test_polls_follow_each_other_from_the_committed_cursor() -> None:
    source = Script([response(1)], [], [response(2)], [], every=60.0)
    scene = Scene(source, FakeClock(waits=3))
    with pytest.raises(Stopped):
        scene.ingest.run()
    assert scene.landing.bodies == [b"1", b"2"]
    assert scene.clock.waits == [60.0, 60.0, 60.0]
    assert source.cursors == [None, 1, 1, 2]


def test_until_idle_ends_after_one_poll() -> None:
    scene = Scene(Script([response(1)], every=60.0))
    scene.ingest.run(until_idle=True)
    assert scene.landing.bodies == [b"1"]
    assert scene.clock.waits == []


def test_what_is_away_is_waited_for_longer_each_time_and_said() -> None:
    away = Unavailable("the API sleeps")
    scene = Scene(Script([away], [away], [away], [response(1), away], [away], [response(2)]))
    scene.ingest.run()
    assert scene.landing.bodies == [b"1", b"2"]
    assert scene.clock.waits == [0.5, 1.0, 2.0, 0.5, 1.0]
    assert scene.said[0] == "source of raw is waiting: the API sleeps"
    assert scene.source.cursors == [None, None, None, None, 1, 1]


def test_the_wait_has_a_longest() -> None:
    scene = Scene(Script(*[[Unavailable("away")]] * 12, []))
    scene.ingest.run()
    assert scene.clock.waits[-3:] == [30.0, 30.0, 30.0]


def test_retry_after_is_kept_to() -> None:
    scene = Scene(Script([Unavailable("busy", retry_after=77.0)], [response(1)]))
    scene.ingest.run()
    assert scene.clock.waits == [77.0]


def test_a_body_that_broke_off_is_landed_but_no_progress() -> None:
    def cut() -> list[Step]:
        return [response(0, cut_off=True), Unavailable("broke off")]

    scene = Scene(Script(cut(), cut(), cut(), [response(1)]))
    scene.ingest.run()
    assert scene.landing.bodies == [b"0", b"0", b"0", b"1"]
    assert scene.clock.waits == [0.5, 1.0, 2.0]


def test_waiting_lasts_until_something_lands() -> None:
    states: list[State] = []
    away = Unavailable("away")
    scene = Scene(Script([away], [lambda clock: states.append(scene.state), response(1)]))
    scene.ingest.run()
    assert states == [State.WAITING]


def test_a_landing_that_is_away_is_polled_again_from_its_cursor() -> None:
    source = Script([response(1), response(2)], [response(1), response(2)])
    scene = Scene(source)
    scene.landing.trouble = [Unavailable("database restarts")]
    scene.ingest.run()
    assert scene.landing.bodies == [b"1", b"2"]
    assert source.cursors == [None, None]
    assert source.closed == 2


@pytest.mark.parametrize("error", [Refused("401"), Fenced("successor"), ZeroDivisionError("bug")])
def test_other_errors_end_it(error: BaseException) -> None:
    scene = Scene(Script([response(1), error]))
    with pytest.raises(type(error)):
        scene.ingest.run()
    assert scene.landing.bodies == [b"1"]


def test_a_landing_taken_by_a_successor_ends_it() -> None:
    scene = Scene(Script([response(1)]))
    scene.landing.trouble = [Fenced("successor")]
    with pytest.raises(Fenced):
        scene.ingest.run()


def test_many_small_responses_share_a_transaction() -> None:
    scene = Scene(Script([response(n) for n in range(1000)]))
    scene.ingest.run()
    assert scene.landing.bodies == [b"%d" % n for n in range(1000)]
    assert len(scene.landing.appends) < 1000


def test_a_response_does_not_wait_for_the_next_one() -> None:
    landed = Event()

    def blocked(clock: Clock) -> None:
        assert landed.wait(10), "the first response was held back until the second came"

    scene = Scene(Script([response(1), blocked, response(2)]))
    append = scene.landing.append

    def watched(
        responses: Sequence[Response], run_id: str | None = None, *, finished: bool = False
    ) -> None:
        append(responses, run_id, finished=finished)
        landed.set()

    scene.landing.append = watched  # type: ignore[method-assign]
    scene.ingest.run()
    assert scene.landing.bodies == [b"1", b"2"]


def test_a_stop_does_not_wait_for_a_blocked_source() -> None:
    asked, released = Event(), Event()

    def blocked(clock: Clock) -> None:
        asked.set()
        released.wait(10)

    scene = Scene(Script([response(1), blocked]), StoppedWhen(asked))
    with pytest.raises(Stopped):
        scene.ingest.run()
    assert not released.is_set()
    released.set()


class StoppedWhen(FakeClock):
    """Stops when an event is set."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event

    def wait(self, seconds: float) -> None:
        if self.event.is_set():
            raise Stopped
        super().wait(seconds)


def test_large_responses_do_not_pile_up() -> None:
    made: list[int] = []

    def note(clock: Clock) -> None:
        made.append(len(scene.landing.bodies))

    large = [Response(bytes(3_000_000), n) for n in range(6)]
    scene = Scene(Script([step for r in large for step in (r, note)]))
    scene.ingest.run()
    assert len(scene.landing.bodies) == 6
    # The note after a response is taken once it was handed over: two at most are ahead.
    assert all(n - landed <= 3 for n, landed in enumerate(made, 1))


# --- runs of a scheduler -------------------------------------------------------------------------


def test_a_finished_run_is_not_done_again() -> None:
    scene = Scene(Script([response(1), response(2)]))
    assert scene.ingest.once("monday") is True
    assert scene.ingest.once("monday") is False
    assert scene.landing.bodies == [b"1", b"2"]


def test_a_run_that_failed_goes_on_at_its_cursor() -> None:
    source = Script([response(1), ZeroDivisionError("bug")], [response(2)])
    scene = Scene(source)
    with pytest.raises(ZeroDivisionError):
        scene.ingest.once("monday")
    assert not scene.landing.finished("monday")
    assert scene.ingest.once("monday")
    assert source.cursors == [None, 1]
    assert scene.landing.bodies == [b"1", b"2"]


def test_the_last_response_and_the_end_of_a_run_are_one_transaction() -> None:
    scene = Scene(Script([response(1), response(2)]))
    scene.ingest.once("monday")
    assert scene.landing.finished("monday")
    assert 0 not in scene.landing.appends


def test_a_run_without_responses_is_finished() -> None:
    scene = Scene(Script([]))
    assert scene.ingest.once("monday")
    assert scene.landing.finished("monday")


def test_a_run_waits_for_what_is_away() -> None:
    broken: list[Step] = [response(1), response(0, cut_off=True), Unavailable("broke off")]
    scene = Scene(Script(broken, [response(2)]))
    scene.ingest.once("monday")
    assert scene.landing.bodies == [b"1", b"0", b"2"]


class Attending(Script):
    """Notes what it is told."""

    def __init__(self, *polls: Sequence[Step]) -> None:
        super().__init__(*polls)
        self.told: list[Cursor] = []

    def landed(self, cursor: Cursor) -> None:
        self.told.append(cursor)

    def leave(self) -> None:
        self.told.append("left")


def test_a_source_that_attends_is_told_what_is_committed_and_when_to_leave() -> None:
    source = Attending([response(1)], [response(1)], [response(2)])
    scene = Scene(source)
    scene.landing.trouble = [Unavailable("away")]
    scene.ingest.run(until_idle=True)
    scene.ingest.run(until_idle=True)
    scene.ingest.leave()
    assert source.told == [1, 2, "left"]
