"""Over random plans and any input: every record is accounted for, in any split of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock as ps
from penstock import plan
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.plan import BATCH_SCHEMA, MicroBatch, Outcome, Segment
from penstock.records import Counts, Span

BORN = datetime(2026, 1, 1, tzinfo=UTC)


class Given(ps.Contract):
    id: int = ps.key()
    n: int | None
    tags: list[str]
    seen: datetime = ps.born()


class Tagged(ps.Contract):
    id: int = ps.key()
    n: int | None
    tags: str
    seen: datetime = ps.born()


class Made(ps.Contract):
    id: int = ps.key()
    n: int
    tags: str


class Page:
    every: float | None = None

    def __init__(self, framing: Framing) -> None:
        self.framing = framing

    def describe(self) -> str:
        return "pages"

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        yield from ()

    def check(self) -> None:
        return


def fragile(frame: pl.DataFrame) -> pl.DataFrame:
    """Fails for multiples of 7, gives null for null."""
    if (frame["id"] % 7 == 0).any():
        raise ValueError("seven")
    return frame.select("id", pl.col("n") * 2, pl.col("tags").cast(pl.String))


def joined(frame: pl.DataFrame) -> pl.DataFrame:
    return fragile(frame.with_columns(pl.col("tags").list.join(",")))


def same(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def grow(stream: ps.pipeline.Stream, shape: list[int]) -> None:
    """Grow lanes from a stream: each number adds a branch."""
    for number, kind in enumerate(shape):
        here = stream
        if kind & 1:
            here = here.filter(pl.col("n") > 3)
        if kind & 2:
            here = here.map(same, Given)
        if kind & 4:
            here = here.explode("tags", Tagged)
            here = here.map(fragile, Made) if kind & 8 else here
        elif kind & 8:
            here = here.map(joined, Made)
        if kind & 16:
            here.topic(f"topic{number}")
        else:
            here.sink(f"t{number}", store="w")


shapes = st.lists(st.integers(0, 31), min_size=1, max_size=4)
elements = st.one_of(
    st.builds(
        lambda id, n, tags: f'{{"id":{id},"n":{n},"tags":[{",".join(tags)}]}}',
        st.integers(0, 30),
        st.one_of(st.just("null"), st.integers(0, 9).map(str)),
        st.lists(st.sampled_from(['"a"', '"b"', '"\\u0000"', "1"]), max_size=3),
    ),
    st.sampled_from(['{"id":1}', "7", "null", "", "[]", '{"id":"1","n":1,"tags":[]}']),
)
values = st.one_of(
    elements.map(str.encode),
    st.lists(elements, max_size=4).map(lambda items: ("[" + ",".join(items) + "]").encode()),
    st.binary(max_size=8),
    st.none(),
)
keys = st.one_of(st.none(), st.integers(0, 9).map(lambda n: b"%d" % n), st.binary(max_size=3))
records = st.lists(st.tuples(st.integers(0, 2), keys, values), max_size=12)


def compiled(kind: str, shape: list[int]) -> Segment:
    pipeline = ps.Pipeline("p")
    if kind == "topic":
        stream = pipeline.topic("log", Given)
    else:
        framing = Framing(many=kind == "many", lines=kind == "lines")
        stream = pipeline.source(Page(framing), Given, land="log")
    grow(stream, shape)
    return plan.compile(pipeline)[0]


def batched(given_records: list[tuple[int, bytes | None, bytes | None]]) -> MicroBatch:
    offsets: Counter[int] = Counter()
    rows = []
    for partition, key, value in sorted(given_records, key=lambda r: r[0]):
        offset = 10 + 2 * offsets[partition]  # every second offset is absent
        offsets[partition] += 1
        rows.append((partition, offset, key, value, None, BORN, offset))
    spans = {p: Span(10, 10 + 2 * offsets[p]) for p in range(3)}
    return MicroBatch(spans, pl.DataFrame(rows, schema=BATCH_SCHEMA, orient="row"))


def check_balance(batch: MicroBatch, outcome: Outcome) -> None:
    for name, lane in outcome.lanes.items():
        assert lane.counts.keys() == batch.spans.keys()
        rows = Counter(lane.rows["_partition"].to_list())
        for partition, counts in lane.counts.items():
            done = rows[partition] if not batch.replay else lane.rows.height
            accounted = counts.filtered + counts.deduplicated + counts.dead + done
            assert counts.records + counts.expanded == accounted, (name, counts, done)
            assert counts.records + counts.absent == len(batch.spans[partition])
            assert counts == Counts(
                counts.records,
                counts.absent,
                counts.expanded,
                filtered=counts.filtered,
                dead=counts.dead,
            )
        dead = sum(counts.dead for counts in lane.counts.values())
        assert dead == sum(name in letter.lanes for letter in outcome.letters)
        places = lane.rows.select("_partition", "_offset", "_index").rows()
        mourned = [
            (x.position.partition, x.position.offset, x.position.index)
            for x in outcome.letters
            if name in x.lanes
        ]
        if not batch.replay:
            assert len({*places, *mourned}) == len(places) + len(mourned)
            assert places == sorted(places)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["topic", "one", "many", "lines"]), shapes, records)
def test_every_record_is_accounted_for(
    kind: str, shape: list[int], given_records: list[tuple[int, bytes | None, bytes | None]]
) -> None:
    segment = compiled(kind, shape)
    batch = batched(given_records)
    outcome = segment.plan.run(batch, [lane.name for lane in segment.lanes])
    check_balance(batch, outcome)
    for lane in segment.lanes:
        alone = segment.plan.run(batch, [lane.name])
        assert alone.lanes[lane.name].rows.equals(outcome.lanes[lane.name].rows)
        assert alone.lanes[lane.name].counts == outcome.lanes[lane.name].counts


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["topic", "many"]), shapes, records, st.integers(0, 25))
def test_a_batch_gives_the_same_in_two_parts(
    kind: str,
    shape: list[int],
    given_records: list[tuple[int, bytes | None, bytes | None]],
    cut: int,
) -> None:
    segment = compiled(kind, shape)
    names = [lane.name for lane in segment.lanes]
    batch = batched(given_records)
    late = batch.trim(dict.fromkeys(range(3), 10 + cut))
    early = MicroBatch(
        {p: Span(span.start, late.spans[p].start) for p, span in batch.spans.items()},
        batch.records.filter(pl.col("offset") < 10 + cut),
    )
    whole = segment.plan.run(batch, names)
    parts = [segment.plan.run(part, names) for part in (early, late)]
    place = ["_partition", "_offset", "_index"]
    for name in names:
        rows = pl.concat([part.lanes[name].rows for part in parts]).sort(place)
        assert rows.equals(whole.lanes[name].rows)
        for p, counts in whole.lanes[name].counts.items():
            assert parts[0].lanes[name].counts[p] + parts[1].lanes[name].counts[p] == counts
    told = sorted((x.position, x.lanes) for part in parts for x in part.letters)
    assert told == sorted((x.position, x.lanes) for x in whole.letters)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["topic", "many"]), shapes, records)
def test_dead_letters_sent_back_die_again_at_the_same_place(
    kind: str, shape: list[int], given_records: list[tuple[int, bytes | None, bytes | None]]
) -> None:
    segment = compiled(kind, shape)
    names = [lane.name for lane in segment.lanes]
    batch = batched(given_records)
    letters = segment.plan.run(batch, names).letters
    places = {
        (p, o): n for n, (p, o) in enumerate(batch.records.select("partition", "offset").rows())
    }
    numbers = [places[x.position.partition, x.position.offset] for x in letters]
    sent = batch.records[numbers].with_columns(
        index=pl.Series([x.position.index for x in letters], dtype=pl.Int64),
        lanes=pl.Series([list(x.lanes) for x in letters], dtype=pl.List(pl.String)),
        at=pl.int_range(len(letters), dtype=pl.Int64, eager=True),
    )
    back = MicroBatch({plan.REPLAY: Span(0, len(letters))}, sent)
    outcome = segment.plan.run(back, names)
    check_balance(back, outcome)
    assert all(lane.rows.is_empty() for lane in outcome.lanes.values())
    again = Counter((x.position, lane) for x in outcome.letters for lane in x.lanes)
    assert again == Counter((x.position, lane) for x in letters for lane in x.lanes)
