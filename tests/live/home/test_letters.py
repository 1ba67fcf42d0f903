"""Dead letters on a real server, from the open batch to the end of each."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import polars as pl
import pytest
from tests.live.home.work import BORN, BROKEN, Work, letter, records

from penstock.errors import Fenced, Refused, Unavailable
from penstock.home import batches, deadletters, leases, ledger, letters, replays
from penstock.home.database import Cursor, Home
from penstock.home.deadletters import Selection
from penstock.home.leases import Claimant
from penstock.home.replays import ReplayLog
from penstock.plan.model import REPLAY
from penstock.records import WHOLE, Cause, Limits, Span

ALL = Selection("users")
A, B = "a@one", "b@two"


@pytest.fixture
def cursor(home: Home) -> Iterator[Cursor]:
    with home.transaction() as opened:
        yield opened


@pytest.fixture
def work(cursor: Cursor) -> Work:
    mine = Work()
    mine.take(cursor)
    return mine


def states(cursor: Cursor) -> dict[str, int]:
    found: dict[str, int] = {}
    for group in deadletters.causes(cursor, ALL):
        for state, number in group.states.items():
            found[state] = found.get(state, 0) + number
    return found


def test_letters_are_pending_until_the_ledger_passes_them(cursor: Cursor, work: Work) -> None:
    batch = work.open(cursor, {0: Span(0, 10)}, A, B)
    found = [letter(3, A, B), letter(4, A)]
    letters.record(cursor, batch, [A, B], found, records(range(10)))
    assert states(cursor) == {"pending": 3}
    work.run(cursor, batch, found, records(range(10)))
    assert states(cursor) == {"dead": 3}
    assert deadletters.imbalances(cursor, "users") == []
    assert batches.open_batches(cursor, "users", "clicks") == []


def test_a_batch_that_runs_again_replaces_what_its_lanes_left_pending(
    cursor: Cursor, work: Work
) -> None:
    batch = work.open(cursor, {0: Span(0, 10)}, A, B)
    letters.record(cursor, batch, [A, B], [letter(3, A, B)], records(range(10)))
    letters.record(cursor, batch, [B], [letter(5, A, B)], records(range(10)))
    lines = deadletters.find(cursor, ALL, states=["pending"], most=10)
    assert [(line.lane, line.position.offset) for line in lines] == [(A, 3), (B, 5)]


def test_a_new_batch_forgets_what_an_abandoned_one_left_pending(cursor: Cursor, work: Work) -> None:
    batch = work.open(cursor, {0: Span(0, 10)}, A)
    letters.record(cursor, batch, [A], [letter(3, A)], records(range(10)))
    batches.finish(cursor, batch, [A])
    batch = work.open(cursor, {0: Span(0, 20)}, A)
    ledger.close(cursor, work.commit(batch, A, {}))
    assert states(cursor) == {}


def test_letters_that_the_ledger_has_passed_are_never_replaced(cursor: Cursor, work: Work) -> None:
    batch = work.open(cursor, {0: Span(0, 10)}, A)
    work.run(cursor, batch, [letter(3, A)], records(range(10)))
    letters.record(cursor, batch, [A], [], records(range(10)))
    assert states(cursor) == {"dead": 1}


def test_a_fenced_process_records_nothing(cursor: Cursor, work: Work) -> None:
    batch = work.open(cursor, {0: Span(0, 10)}, A)
    leases.take_over(cursor, Claimant("users", "clicks", "other", "there", 2), [0], 60)
    with pytest.raises(Fenced, match="there"):
        letters.record(cursor, batch, [A], [letter(3, A)], records(range(10)))
    with pytest.raises(Fenced, match="there"):
        work.open(cursor, {0: Span(10, 20)}, A)


def test_a_letter_without_its_record_is_never_dropped_in_silence(
    cursor: Cursor, work: Work
) -> None:
    batch = work.open(cursor, {0: Span(0, 10)}, A)
    with pytest.raises(ValueError, match="does not hold"):
        letters.record(cursor, batch, [A], [letter(3, A)], records([4]))


def test_any_words_can_be_kept(cursor: Cursor, work: Work) -> None:
    hostile = Cause("decode", "no\0\ud800'; --", "a.b\0", "\udfff\0'", "detail\0")
    batch = work.open(cursor, {0: Span(0, 1)}, A)
    work.run(cursor, batch, [letter(0, A, cause=hostile, index=WHOLE)], records([0]))
    (group,) = deadletters.causes(cursor, ALL)
    assert group.cause == Cause(
        "decode", "no\\x00\\ud800'; --", "a.b\\x00", "\\udfff\\x00'", "detail\\x00"
    )


def test_causes_are_grouped_with_the_newest_traceback(cursor: Cursor, work: Work) -> None:
    other = Cause("map", "raised KeyError", "", "43", "Traceback: newer")
    batch = work.open(cursor, {0: Span(0, 10)}, A)
    found = [letter(1, A), letter(2, A), letter(3, A, cause=Cause("decode", "not JSON"))]
    work.run(cursor, batch, found, records(range(10)))
    batch = work.open(cursor, {0: Span(10, 20)}, A, B)
    work.run(cursor, batch, [letter(11, A, B, cause=other)], records(range(10, 20)))
    first, second = deadletters.causes(cursor, ALL)
    assert first.cause == other
    assert (first.states, first.lanes) == ({"dead": 4}, (A, B))
    assert (second.states, second.cause.rule) == ({"dead": 1}, "not JSON")
    assert deadletters.causes(cursor, Selection("users", lane=B))[0].states == {"dead": 1}
    assert deadletters.causes(cursor, Selection("users", cause=second.id))[0].id == second.id
    assert deadletters.causes(cursor, Selection("others")) == []


def test_show_gives_the_record_byte_for_byte(cursor: Cursor, work: Work) -> None:
    work.run(cursor, work.open(cursor, {0: Span(7, 8)}, A), [letter(7, A)], records([7]))
    (line,) = deadletters.find(cursor, ALL, states=["dead"], most=10)
    shown = deadletters.show(cursor, "users", line.id)
    assert (shown.key, shown.value, shown.headers) == (b"k", b"\x00\xff\n7", None)
    assert (shown.born, shown.order, shown.log_id) == (BORN, 1007, "log-1")
    assert shown.line.cause == BROKEN
    assert [happening.what for happening in shown.history] == ["recorded"]
    with pytest.raises(Refused, match="no dead letter"):
        deadletters.show(cursor, "others", line.id)


def test_a_replay_goes_to_the_lanes_that_miss_the_record(
    cursor: Cursor, work: Work, home: Home
) -> None:
    batch = work.open(cursor, {0: Span(0, 10)}, A, B)
    found = [letter(3, A, B), letter(3, B, index=1), letter(4, A, index=WHOLE)]
    work.run(cursor, batch, found, records(range(10)))
    assert replays.replay(cursor, ALL, by="me") == replays.Replayed(4, 3, 0)
    assert states(cursor) == {"replaying": 4}
    assert replays.replay(cursor, ALL, by="me") == replays.Replayed(0, 0, 0)
    read = ReplayLog(home, "users", "clicks", "log-1").read(0, Limits(100, 1_000_000))
    assert read.spans == {REPLAY: Span(0, 3)}
    assert read.replay
    columns = read.records.select("offset", "index", "lanes", "at")
    assert columns.rows() == [(3, 0, [A, B], 0), (3, 1, [B], 1), (4, WHOLE, [A], 2)]
    same = read.records.drop("index", "lanes", "at")
    assert same.equals(pl.concat([records([3]), records([3]), records([4])]))


def replayed(cursor: Cursor, work: Work, home: Home) -> tuple[batches.OpenBatch, pl.DataFrame]:
    log = ReplayLog(home, "users", "clicks", "log-1")
    tail = work.totals.get(("replay:log-1", A, REPLAY))
    read = log.read(tail.records if tail else 0, Limits(100, 1_000_000))
    return work.open(cursor, read.spans, A, B), read.records


def test_what_fails_again_is_dead_with_its_new_cause(
    cursor: Cursor, work: Work, home: Home
) -> None:
    first = work.open(cursor, {0: Span(0, 10)}, A, B)
    work.run(cursor, first, [letter(3, A, B), letter(4, A)], records(range(10)))
    replays.replay(cursor, ALL, by="me")
    batch, frame = replayed(cursor, work, home)
    again = letter(3, B, cause=Cause("store", "too long"))
    work.run(cursor, batch, [again], frame)
    assert states(cursor) == {"replayed": 2, "failed again": 1, "dead": 1}
    (line,) = deadletters.find(cursor, ALL, states=["dead"], most=10)
    assert (line.lane, line.position, line.cause.rule) == (B, again.position, "too long")
    history = deadletters.show(cursor, "users", line.id).history
    assert [(step.what, step.who) for step in history] == [
        ("recorded", ""),
        ("replayed", "me"),
        ("recorded", ""),
    ]
    assert deadletters.imbalances(cursor, "users") == []
    assert replays.replay(cursor, ALL, by="me") == replays.Replayed(1, 1, 0)
    batch, frame = replayed(cursor, work, home)
    assert frame.select("lanes", "at").rows() == [([B], 2)]
    work.run(cursor, batch, [], frame)
    assert states(cursor) == {"replayed": 3, "failed again": 1}
    assert deadletters.imbalances(cursor, "users") == []


def test_a_record_replayed_whole_may_leave_several_letters(
    cursor: Cursor, work: Work, home: Home
) -> None:
    first = work.open(cursor, {0: Span(0, 10)}, A)
    work.run(cursor, first, [letter(3, A, index=WHOLE)], records(range(10)))
    replays.replay(cursor, ALL, by="me")
    batch, frame = replayed(cursor, work, home)
    work.run(cursor, batch, [letter(3, A, index=1), letter(3, A, index=4)], frame)
    assert states(cursor) == {"failed again": 1, "dead": 2}
    assert deadletters.imbalances(cursor, "users") == []


def test_rows_replayed_may_fail_with_their_whole_record(
    cursor: Cursor, work: Work, home: Home
) -> None:
    first = work.open(cursor, {0: Span(0, 10)}, A)
    found = [letter(3, A, index=1), letter(3, A, index=4)]
    work.run(cursor, first, found, records(range(10)))
    replays.replay(cursor, ALL, by="me")
    batch, frame = replayed(cursor, work, home)
    work.run(cursor, batch, [letter(3, A, index=WHOLE), letter(3, A, index=WHOLE)], frame)
    assert states(cursor) == {"failed again": 2, "dead": 2}
    assert deadletters.imbalances(cursor, "users") == []


def test_a_discarded_letter_stays_on_record(cursor: Cursor, work: Work) -> None:
    first = work.open(cursor, {0: Span(0, 10)}, A)
    work.run(cursor, first, [letter(3, A), letter(4, A)], records(range(10)))
    one, _ = deadletters.find(cursor, ALL, states=["dead"], most=10)
    selection = Selection("users", letters=[one.id])
    assert deadletters.discard(cursor, selection, reason="a test", by="me") == 1
    assert deadletters.discard(cursor, selection, reason="again", by="me") == 0
    assert states(cursor) == {"dead": 1, "discarded": 1}
    assert replays.replay(cursor, ALL, by="me").letters == 1
    last = deadletters.show(cursor, "users", one.id).history[-1]
    assert (last.what, last.who, last.why) == ("discarded", "me", "a test")
    assert deadletters.imbalances(cursor, "users") == []


def test_preview_writes_nothing(cursor: Cursor, work: Work) -> None:
    first = work.open(cursor, {0: Span(0, 10)}, A, B)
    work.run(cursor, first, [letter(3, A, B), letter(4, A)], records(range(10)))
    preview = replays.preview(cursor, ALL, most=10)
    assert preview["clicks"].spans == {REPLAY: Span(0, 2)}
    assert preview["clicks"].records.select("offset", "lanes").rows() == [(3, [A, B]), (4, [A])]
    assert states(cursor) == {"dead": 3}


def test_a_replay_that_is_killed_sends_nothing(home: Home) -> None:
    work = Work()
    with home.transaction() as cursor:
        work.take(cursor)
        work.run(cursor, work.open(cursor, {0: Span(0, 9)}, A), [letter(3, A)], records(range(9)))
    with pytest.raises(Unavailable), home.transaction() as cursor:
        assert replays.replay(cursor, ALL, by="me").letters == 1
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    home.open()
    assert ReplayLog(home, "users", "clicks", "log-1").end() == 0
    with home.transaction() as cursor:
        assert states(cursor) == {"dead": 1}
        assert replays.replay(cursor, ALL, by="me").letters == 1


def test_two_replays_at_once_send_each_letter_once(home: Home, database: str) -> None:
    work = Work()
    with home.transaction() as cursor:
        work.take(cursor)
        batch = work.open(cursor, {0: Span(0, 100)}, A, B)
        found = [letter(offset, A, B) for offset in range(100)]
        work.run(cursor, batch, found, records(range(100)))
    sent: list[replays.Replayed] = []

    def send() -> None:
        with Home(database) as mine, mine.transaction() as cursor:
            sent.append(replays.replay(cursor, ALL, by="me"))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.entries for one in sent) == 100
    log = ReplayLog(home, "users", "clicks", "log-1")
    assert log.end() == 100
    assert log.read(0, Limits(1000, 1_000_000)).records["at"].to_list() == list(range(100))


def test_a_replay_log_reads_within_limits(home: Home) -> None:
    work = Work()
    with home.transaction() as cursor:
        work.take(cursor)
        batch = work.open(cursor, {0: Span(0, 100)}, A)
        work.run(cursor, batch, [letter(n, A) for n in range(100)], records(range(100)))
        replays.replay(cursor, ALL, by="me")
    log = ReplayLog(home, "users", "clicks", "log-1")
    assert log.read(0, Limits(7, 1_000_000)).spans == {REPLAY: Span(0, 7)}
    assert log.read(7, Limits(7, 1)).spans == {REPLAY: Span(7, 8)}
    assert log.read(100, Limits(7, 1_000_000)).spans == {REPLAY: Span(100, 100)}
    assert log.reread(Span(90, 95)).records["at"].to_list() == [90, 91, 92, 93, 94]


def test_a_record_counts_once_however_many_of_its_rows_are_replayed(home: Home) -> None:
    work = Work()
    large = records([3]).with_columns(value=pl.lit(b"x" * 1000, pl.Binary))
    with home.transaction() as cursor:
        work.take(cursor)
        batch = work.open(cursor, {0: Span(0, 10)}, A)
        found = [letter(3, A, index=n) for n in range(50)]
        work.run(cursor, batch, found, large)
        replays.replay(cursor, ALL, by="me")
    log = ReplayLog(home, "users", "clicks", "log-1")
    read = log.read(0, Limits(100, 1000)).records
    assert read["at"].to_list() == list(range(50))
    assert set(read["value"]) == {b"x" * 1000}
    assert log.reread(Span(20, 22)).records["value"].to_list() == [b"x" * 1000] * 2
