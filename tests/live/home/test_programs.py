"""What home knows of programs: lanes, contracts, logs, and the state that `status` shows."""

from __future__ import annotations

from uuid import UUID

import pytest
from tests.live.home.work import Work, letter, records

import penstock as ps
from penstock import plan
from penstock.errors import ContractError, LogChanged
from penstock.home import (
    batches,
    contracts,
    deadletters,
    identities,
    leases,
    ledger,
    programs,
    replays,
    state,
)
from penstock.home.database import Home
from penstock.home.latency import Histogram
from penstock.home.leases import Claimant
from penstock.plan import Segment
from penstock.records import Counts, Span


class Click(ps.Contract):
    id: UUID = ps.key()
    page: str


class ClickWithMore(ps.Contract):
    id: UUID = ps.key()
    page: str
    seen: int | None


class ClickWithLess(ps.Contract):
    id: UUID = ps.key()
    seen: int


def program(contract: type[ps.Contract], *stores: str, name: str = "users") -> tuple[Segment, ...]:
    pipeline = ps.Pipeline(name)
    clicks = pipeline.topic("clicks", contract)
    for store in stores:
        clicks.sink("a", store=store)
    return plan.compile(pipeline)


ONE, TWO = "a@one", "a@two"


def test_contracts_are_versioned(home: Home) -> None:
    with home.transaction() as cursor:
        first = contracts.admit(cursor, "users", program(Click, "one"))
        assert [(change.name, change.version) for change in first] == [
            ("topic clicks", 1),
            (f"table {ONE}", 1),
        ]
        assert contracts.admit(cursor, "users", program(Click, "one")) == []
        topic, table = contracts.admit(cursor, "users", program(ClickWithMore, "one"))
        assert (topic.version, topic.breaking) == (2, ())
        assert "seen" in topic.compatible[0]
        assert [one.version for one in contracts.versions(cursor, "users")] == [2, 2]
        assert table.version == 2


def test_a_breaking_change_is_refused_with_what_breaks_and_who_reads_it(home: Home) -> None:
    with home.transaction() as cursor:
        contracts.admit(cursor, "users", program(Click, "one"))
        programs.register(cursor, "users", program(Click, "one"))
        programs.register(cursor, "others", program(Click, "two", name="others"))
        broken = program(ClickWithLess, "one")
        (topic, _) = contracts.changes(cursor, "users", broken)
        assert topic.breaking
        assert topic.readers == (f"{TWO} of pipeline others", f"{ONE} of pipeline users")
        with pytest.raises(ContractError, match=r"page is removed(.|\n)*of pipeline others"):
            contracts.admit(cursor, "users", broken)
        assert [one.version for one in contracts.versions(cursor, "users")] == [1, 1]


def test_a_log_that_was_recreated_is_refused_until_it_is_accepted(home: Home) -> None:
    with home.transaction() as cursor:
        identities.recognise(cursor, "users", "clicks", "log-1")
        identities.recognise(cursor, "users", "clicks", "log-1")
        identities.recognise(cursor, "others", "clicks", "log-2")
        with pytest.raises(LogChanged, match=r"was log-1 and is log-2(.|\n)*--accept-log"):
            identities.recognise(cursor, "users", "clicks", "log-2")
        identities.accept(cursor, "users", "clicks", "log-2")
        identities.recognise(cursor, "users", "clicks", "log-2")


def test_only_lanes_of_current_programs_hold_a_log_back(home: Home) -> None:
    work = Work()
    with home.transaction() as cursor:
        work.take(cursor)
        assert programs.needed(cursor, "log-1", [0, 1]) == {}
        programs.register(cursor, "users", program(Click, "one", "two"))
        identities.recognise(cursor, "users", "clicks", "log-1")
        assert programs.needed(cursor, "log-1", [0, 1]) == {0: 0, 1: 0}
        work.run(cursor, work.open(cursor, {0: Span(0, 10)}, ONE, TWO), [], records(range(10)))
        work.run(cursor, work.open(cursor, {0: Span(10, 20)}, ONE), [], records(range(10, 20)))
        assert programs.needed(cursor, "log-1", [0, 1]) == {0: 10, 1: 0}
        programs.register(cursor, "users", program(Click, "one"))
        assert programs.needed(cursor, "log-1", [0, 1]) == {0: 20, 1: 0}
        assert programs.needed(cursor, "log-2", [0]) == {}
        assert programs.pipelines(cursor) == ["users"]


def test_a_removed_lane_leaves_its_open_batches(home: Home) -> None:
    work = Work()
    with home.transaction() as cursor:
        work.take(cursor)
        programs.register(cursor, "users", program(Click, "one", "two"))
        work.open(cursor, {0: Span(0, 10)}, ONE, TWO)
        work.open(cursor, {0: Span(0, 5)}, TWO)
        programs.register(cursor, "users", program(Click, "one"))
        (left,) = batches.open_batches(cursor, "users", "clicks")
        assert (left.lanes, left.spans) == ((ONE,), {0: Span(0, 10)})


def test_letters_of_a_removed_lane_or_of_an_older_log_are_not_sent_back(home: Home) -> None:
    work = Work()
    everything = deadletters.Selection("users")
    with home.transaction() as cursor:
        work.take(cursor)
        programs.register(cursor, "users", program(Click, "one", "two"))
        identities.recognise(cursor, "users", "clicks", "log-1")
        batch = work.open(cursor, {0: Span(0, 10)}, ONE, TWO)
        work.run(cursor, batch, [letter(3, ONE, TWO), letter(4, ONE)], records(range(10)))
        programs.register(cursor, "users", program(Click, "one"))
        some = deadletters.Selection("users", lane=TWO)
        assert replays.replay(cursor, some, by="me") == replays.Replayed(0, 0, 1)
        identities.accept(cursor, "users", "clicks", "log-2")
        assert replays.replay(cursor, everything, by="me") == replays.Replayed(0, 0, 3)
        identities.accept(cursor, "users", "clicks", "log-1")
        assert replays.replay(cursor, everything, by="me") == replays.Replayed(2, 2, 1)


def test_the_state_of_a_pipeline(home: Home) -> None:
    work = Work()
    with home.transaction() as cursor:
        assert state.read(cursor, "users").segments == ()
        work.take(cursor)
        poller = Claimant("users", "source:clicks", "me", "here", 1)
        leases.acquire(cursor, poller, [0], 60)
        contracts.admit(cursor, "users", program(Click, "one", "two"))
        programs.register(cursor, "users", program(Click, "one", "two"))
        identities.recognise(cursor, "users", "clicks", "log-1")
        batch = work.open(cursor, {0: Span(0, 10)}, ONE, TWO)
        work.run(cursor, batch, [letter(3, TWO)], records(range(10)))
        replays.replay(cursor, deadletters.Selection("users"), by="me")
        work.open(cursor, {0: Span(10, 20)}, ONE)
        (closing,) = work.commit(work.open(cursor, {1: Span(0, 120)}, ONE), ONE, {})
        timed = ledger.Closing(
            closing.key, 1, closing.progress, {ledger.VISIBLE: Histogram.of(0.5)}
        )
        ledger.close(cursor, [timed])
        found = state.read(cursor, "users", window=60)
        cursor.execute("SELECT lane, partition, balanced FROM penstock.ledger_view")
        assert cursor.fetchall() == [(ONE, 0, True), (ONE, 1, True), (TWO, 0, True)]
    (segment,) = found.segments
    assert (segment.segment, segment.kind, segment.log_id) == ("clicks", "topic", "log-1")
    assert {holder.partition for holder in segment.holders} == {0, 1, -1}
    assert segment.ingest is not None
    assert [batch.spans for batch in segment.open_batches] == [
        {0: Span(10, 20)},
        {1: Span(0, 120)},
    ]
    assert segment.replays == 1
    assert segment.causes[0].states == {"replaying": 1}
    one, two = segment.lanes
    assert (one.lane, one.store, one.target, one.mode) == (ONE, "one", "a", "upsert")
    assert {partition: tail.next for partition, tail in one.partitions.items()} == {0: 10, 1: 120}
    assert one.totals == Counts(records=130, written=130)
    assert two.totals == Counts(records=10, written=9, dead=1)
    assert one.recent.records == pytest.approx(130 / 60)
    assert one.recent.latency == Histogram.of(0.5)
    assert two.recent.latency == Histogram()
    assert [version.name for version in found.contracts] == [
        f"table {ONE}",
        f"table {TWO}",
        "topic clicks",
    ]
