from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import polars as pl
import pytest

import penstock as ps
from penstock import plan
from penstock.contract import ContractSpec, Decoded, decode
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.logs.landing import headers_of
from penstock.plan import REPLAY, MicroBatch
from penstock.records import CUT_OFF, LOG_COLUMNS, ROW_COLUMNS, WHOLE, Cause, Counts, Position, Span

BatchOf = Callable[..., MicroBatch]


class Line(ps.Contract):
    item: str


class Order(ps.Contract):
    id: int = ps.key()
    amount: int
    lines: list[str]
    placed: datetime = ps.born()


class OrderLine(ps.Contract):
    id: int = ps.key()
    amount: int
    lines: str
    placed: datetime = ps.born()


class Doubled(ps.Contract):
    id: int = ps.key()
    amount: int
    placed: datetime = ps.born()


class Masked(ps.Contract):
    id: int = ps.key()
    amount: int | None = ps.masked("redact")


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


def double(orders: pl.DataFrame) -> pl.DataFrame:
    """Fail for an amount of 13."""
    if (orders["amount"] == 13).any():
        raise ValueError("thirteen")
    return orders.select("id", pl.col("amount") * 2)


def order(id: int, amount: int = 1, lines: str = "[]") -> bytes:
    return b'{"id":%d,"amount":%d,"lines":%s}' % (id, amount, lines.encode())


def segment_of(stream: ps.pipeline.Stream) -> plan.Segment:
    return plan.compile(stream.pipeline)[0]


def topic() -> ps.pipeline.Stream:
    return ps.Pipeline("p").topic("orders", Order)


def landing(framing: Framing, contract: type[ps.Contract] = Order) -> ps.pipeline.Stream:
    return ps.Pipeline("p").source(Page(framing), contract, land="raw")


def test_the_schemas_are_those_of_the_interfaces() -> None:
    assert (*LOG_COLUMNS, "order") == tuple(plan.BATCH_SCHEMA)
    assert tuple(plan.ROW_SCHEMA) == ROW_COLUMNS


def test_rows_carry_their_positions_and_the_born_field(batch_of: BatchOf) -> None:
    stream = topic()
    stream.map(double, Doubled).sink("t", store="w")
    batch = batch_of([order(1), order(2, 21)], partitions=[0, 3])
    lane = segment_of(stream).plan.run(batch, ["t@w"]).lanes["t@w"]
    born = datetime(2026, 1, 1, second=40, tzinfo=UTC)
    assert lane.rows.schema == plan.row_schema(plan.compile(stream.pipeline)[0].lanes[0].spec)
    assert lane.rows.rows() == [
        (1, 2, born, 0, 100, 0, 1100, born, False),
        (2, 42, born, 3, 100, 0, 1100, born, False),
    ]
    assert lane.counts == {0: Counts(records=1), 3: Counts(records=1)}


def test_a_born_field_in_the_record_stays(batch_of: BatchOf) -> None:
    stream = topic()
    stream.sink("t", store="w")
    value = order(1)[:-1] + b',"placed":"2020-02-03T04:05:06Z"}'
    rows = segment_of(stream).plan.run(batch_of([value]), ["t@w"]).lanes["t@w"].rows
    assert rows["placed"].to_list() == [datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)]


def test_bad_records_die_alone_at_every_stage(batch_of: BatchOf) -> None:
    stream = topic()
    small = stream.filter(pl.col("amount") < 1000)
    small.map(double, Doubled).sink("doubled", store="w")
    small.sink("small", store="w")
    stream.sink("all", store="w")
    values = [order(1), b"junk", order(2, 13), order(3, 5000), b'{"id":"4"}', order(5)]
    outcome = segment_of(stream).plan.run(batch_of(values), ["doubled@w", "small@w", "all@w"])
    assert {name: lane.rows["id"].to_list() for name, lane in outcome.lanes.items()} == {
        "all@w": [1, 2, 3, 5],
        "doubled@w": [1, 5],
        "small@w": [1, 2, 5],
    }
    assert {name: lane.counts[0] for name, lane in outcome.lanes.items()} == {
        "all@w": Counts(records=6, dead=2),
        "doubled@w": Counts(records=6, dead=3, filtered=1),
        "small@w": Counts(records=6, dead=2, filtered=1),
    }
    everywhere = ("all@w", "doubled@w", "small@w")
    assert [(x.position.offset, x.lanes, x.cause.stage) for x in outcome.letters] == [
        (101, everywhere, "decode"),
        (104, everywhere, "decode"),
        (102, ("doubled@w",), "map"),
    ]
    cause = outcome.letters[2].cause
    assert cause.rule == "double raised ValueError"
    assert cause.value == "thirteen"
    assert 'in double\n    raise ValueError("thirteen")' in cause.detail
    assert cause.detail.count("File ") == 1


def test_only_lanes_that_are_asked_for_are_computed(batch_of: BatchOf) -> None:
    def explode(frame: pl.DataFrame) -> pl.DataFrame:
        raise AssertionError("this map leads to no lane that is asked for")

    stream = topic()
    stream.map(explode, Doubled).sink("never", store="w")
    stream.sink("t", store="w")
    outcome = segment_of(stream).plan.run(batch_of([order(1), b"x"]), ["t@w"])
    assert list(outcome.lanes) == ["t@w"]
    assert outcome.letters[0].lanes == ("t@w",)
    with pytest.raises(KeyError):
        segment_of(stream).plan.run(batch_of([]), ["nope@w"])


def test_shared_steps_run_once_and_branches_do_not_touch_each_other(batch_of: BatchOf) -> None:
    calls = []

    def counting(frame: pl.DataFrame) -> pl.DataFrame:
        calls.append(frame.height)
        return double(frame)

    def mutating(frame: pl.DataFrame) -> pl.DataFrame:
        frame.replace_column(1, frame["amount"] * 0)
        return frame

    stream = topic().map(counting, Doubled)
    stream.map(mutating, Doubled).sink("zero", store="w")
    stream.sink("a", store="w")
    stream.filter(pl.col("amount") > 2).sink("b", store="w")
    outcome = segment_of(stream).plan.run(
        batch_of([order(1), order(2, 2)]), ["a@w", "b@w", "zero@w"]
    )
    assert calls == [2]
    assert outcome.lanes["zero@w"].rows["amount"].to_list() == [0, 0]
    assert outcome.lanes["a@w"].rows["amount"].to_list() == [2, 4]
    assert outcome.lanes["b@w"].rows["amount"].to_list() == [4]


def test_an_empty_batch_gives_empty_rows_and_runs_no_map(batch_of: BatchOf) -> None:
    def never(frame: pl.DataFrame) -> pl.DataFrame:
        raise AssertionError("a map gets at least one row")

    stream = topic()
    lines = stream.explode("lines", OrderLine)
    lines.map(never, Doubled).sink("t", store="w")
    segment = segment_of(stream)
    batch = MicroBatch({0: Span(5, 9)}, batch_of([]).records)
    lane = segment.plan.run(batch, ["t@w"]).lanes["t@w"]
    assert lane.rows.schema == plan.row_schema(segment.lanes[0].spec)
    assert lane.counts == {0: Counts(absent=4)}


def test_many_records_of_a_value_are_counted_as_expanded(batch_of: BatchOf) -> None:
    stream = landing(Framing(path=("results",), many=True))
    stream.sink("t", store="w")
    pages = [
        b'{"results":[%s,7,%s]}' % (order(1), order(2)),
        b'{"results":[]}',
        b"nope",
        b'{"results":[%s]}' % order(3),
    ]
    outcome = segment_of(stream).plan.run(batch_of(pages), ["t@w"])
    lane = outcome.lanes["t@w"]
    assert lane.rows.select("id", "_offset", "_index").rows() == [
        (1, 100, 0),
        (2, 100, 2),
        (3, 103, 0),
    ]
    assert lane.counts[0] == Counts(records=4, expanded=1, dead=2)
    assert [letter.position for letter in outcome.letters] == [
        Position(0, 100, 1),
        Position(0, 102, WHOLE),
    ]


def test_a_cut_off_answer_is_dead_even_if_its_beginning_can_be_read(batch_of: BatchOf) -> None:
    stream = landing(Framing(lines=True))
    stream.sink("t", store="w")
    batch = batch_of([order(1), order(2) + b"\n" + order(3)])
    name, value = (base64.b64encode(part.encode()).decode() for part in ("200", CUT_OFF[1]))
    headers = [None, json.dumps([["status", name], [CUT_OFF[0], value]]).encode()]
    records = batch.records.with_columns(headers=pl.Series(headers, dtype=pl.Binary))
    outcome = segment_of(stream).plan.run(MicroBatch(batch.spans, records), ["t@w"])
    lane = outcome.lanes["t@w"]
    assert lane.rows["id"].to_list() == [1]
    assert lane.counts[0] == Counts(records=2, dead=1)
    assert [letter.position for letter in outcome.letters] == [Position(0, 101, WHOLE)]
    assert outcome.letters[0].cause == Cause(
        "decode", "the connection broke before the answer's end"
    )


def test_a_damaged_file_is_dead_with_the_source_s_words_even_under_masks(batch_of: BatchOf) -> None:
    response = Response(order(1), None, {"note": "n"}, cut_off="a.gz: truncated " + "x" * 300)
    headers = pl.Series([(headers_of(response) or "").encode()], dtype=pl.Binary)
    batch = batch_of([order(1)])
    batch = MicroBatch(batch.spans, batch.records.with_columns(headers=headers))
    for contract in (Order, Masked):
        stream = landing(Framing(), contract)
        stream.sink("t", store="w")
        (letter,) = segment_of(stream).plan.run(batch, ["t@w"]).letters
        words = f"a.gz: truncated {'x' * 184}"
        assert letter.cause == Cause("decode", "it is truncated or damaged", value=words)


def test_explode_numbers_children_and_counts_them(batch_of: BatchOf) -> None:
    stream = landing(Framing(many=True))
    stream.explode("lines", OrderLine).sink("t", store="w")
    values = [
        b"[%s,%s]" % (order(1, lines='["a","b"]'), order(2, lines="[]")),
        b"[%s]" % order(3, lines='["c"]'),
    ]
    lane = segment_of(stream).plan.run(batch_of(values), ["t@w"]).lanes["t@w"]
    assert lane.rows.select("id", "lines", "_offset", "_index").rows() == [
        (1, "a", 100, 1 << 20),
        (1, "b", 100, 1 << 20 | 1),
        (3, "c", 101, 1 << 20),
    ]
    assert lane.counts[0] == Counts(records=2, expanded=1)


def test_a_list_that_is_too_long_for_positions_is_dead(
    batch_of: BatchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.transforms.explode.MOST", 3)
    stream = topic()
    stream.explode("lines", OrderLine).sink("t", store="w", mode="append")
    batch = batch_of([order(1, lines='["a","b","c"]'), order(2, lines='["a","b"]')])
    outcome = segment_of(stream).plan.run(batch, ["t@w"])
    assert outcome.lanes["t@w"].rows["id"].to_list() == [2, 2]
    assert outcome.lanes["t@w"].counts[0] == Counts(records=2, expanded=1, dead=1)
    assert outcome.letters[0].cause.stage == "explode"
    assert outcome.letters[0].cause.value == "3"


def test_values_with_too_many_records_to_explode_are_dead_whole(
    batch_of: BatchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.plan.walk.MOST", 2)
    stream = landing(Framing(many=True))
    stream.explode("lines", OrderLine).sink("t", store="w")
    values = [b"[1,2,%s]" % order(1, lines='["a"]'), b"[%s]" % order(2, lines='["b"]')]
    outcome = segment_of(stream).plan.run(batch_of(values), ["t@w"])
    assert outcome.lanes["t@w"].rows["id"].to_list() == [2]
    assert outcome.lanes["t@w"].counts[0] == Counts(records=2, dead=1)
    assert [letter.position for letter in outcome.letters] == [Position(0, 100, WHOLE)]


# --- deletes -----------------------------------------------------------------------------------


def test_a_delete_reaches_upserts_and_topics_in_its_place(batch_of: BatchOf) -> None:
    stream = topic()
    stream.sink("log", store="w", mode="append")
    kept = stream.filter(pl.col("amount") > 5)
    kept.sink("kept", store="w")
    stream.map(double, Doubled).topic("doubled")
    stream.topic("by_amount", key="amount")
    batch = batch_of([order(1, 9), None, order(1, 8)], [b"1", b"1", b"1"])
    lanes = ["log@w", "kept@w", "doubled@log", "by_amount@log"]
    outcome = segment_of(stream).plan.run(batch, lanes)
    for name in ("kept@w", "doubled@log"):
        rows = outcome.lanes[name].rows
        assert rows.select("id", "_offset", "_deleted").rows() == [
            (1, 100, False),
            (1, 101, True),
            (1, 102, False),
        ]
        assert rows.filter("_deleted").select("amount", "placed").row(0) == (None, None)
        assert outcome.lanes[name].counts[0] == Counts(records=3)
    for name in ("log@w", "by_amount@log"):
        assert outcome.lanes[name].rows["_offset"].to_list() == [100, 102]
        assert outcome.lanes[name].counts[0] == Counts(records=3, dead=1)
    (letter,) = outcome.letters
    assert letter.lanes == ("by_amount@log", "log@w")
    assert letter.position == Position(0, 101, WHOLE)
    assert letter.cause.stage == "delete"


@pytest.mark.parametrize("key", [None, b"", b"x", b"1.0", b"01", b'1,"amount":2', b"\xff", b"1 2"])
def test_a_delete_whose_key_cannot_be_read_is_dead(batch_of: BatchOf, key: bytes | None) -> None:
    stream = topic()
    stream.sink("t", store="w")
    outcome = segment_of(stream).plan.run(batch_of([None], [key]), ["t@w"])
    assert outcome.lanes["t@w"].rows.is_empty()
    assert outcome.lanes["t@w"].counts[0] == Counts(records=1, dead=1)
    assert outcome.letters[0].position == Position(0, 100, WHOLE)
    assert outcome.letters[0].cause.field == "id"


def test_a_null_value_without_a_key_is_dead(batch_of: BatchOf) -> None:
    class Keyless(ps.Contract):
        n: int

    pipeline = ps.Pipeline("p")
    pipeline.topic("t", Keyless).sink("t", store="w")
    outcome = plan.compile(pipeline)[0].plan.run(batch_of([None, b'{"n":1}']), ["t@w"])
    assert outcome.lanes["t@w"].counts[0] == Counts(records=2, dead=1)


def test_text_and_composite_keys_of_deletes_are_read(batch_of: BatchOf) -> None:
    class Text(ps.Contract):
        name: Annotated[str, ps.Name("the name")] = ps.key()

    class Both(ps.Contract):
        a: int = ps.key()
        b: str = ps.key()

    pipeline = ps.Pipeline("p")
    pipeline.topic("text", Text).sink("text", store="w")
    pipeline.topic("both", Both).sink("both", store="w")
    text, both = plan.compile(pipeline)
    outcome = text.plan.run(batch_of([None, None], [b'a "\\ b', "ä".encode()]), ["text@w"])
    assert outcome.lanes["text@w"].rows["name"].to_list() == ['a "\\ b', "ä"]
    keys = [b'{"a":1,"b":"x"}', b'{"a":1}', b"7"]
    outcome = both.plan.run(batch_of([None] * 3, keys), ["both@w"])
    assert outcome.lanes["both@w"].rows.select("a", "b").rows() == [(1, "x")]
    assert len(outcome.letters) == 2


# --- replays -----------------------------------------------------------------------------------


def replayed(batch: MicroBatch, entries: list[tuple[int, int, list[str]]]) -> MicroBatch:
    """Send back rows of a batch: number of the record, index, lanes."""
    records = batch.records[[number for number, _, _ in entries]].with_columns(
        index=pl.Series([index for _, index, _ in entries], dtype=pl.Int64),
        lanes=pl.Series([lanes for _, _, lanes in entries], dtype=pl.List(pl.String)),
        at=pl.int_range(50, 50 + len(entries), dtype=pl.Int64, eager=True),
    )
    return MicroBatch({REPLAY: Span(50, 50 + len(entries))}, records)


def test_a_replay_gives_only_the_rows_it_names_to_the_lanes_it_names(batch_of: BatchOf) -> None:
    stream = landing(Framing(many=True))
    stream.sink("a", store="w")
    stream.filter(pl.col("id") > 0).sink("b", store="w")
    values = [b"[%s,%s,7]" % (order(1), order(2)), b"[%s]" % order(3)]
    entries = [(0, 1, ["a@w"]), (0, WHOLE, ["b@w"]), (0, 2, ["a@w", "b@w"]), (1, 0, ["b@w"])]
    batch = replayed(batch_of(values), entries)
    outcome = segment_of(stream).plan.run(batch, ["a@w", "b@w"])
    columns = ["id", "_partition", "_offset", "_index", "_order"]
    assert outcome.lanes["a@w"].rows.select(columns).rows() == [(2, 0, 100, 1, 1100)]
    assert outcome.lanes["a@w"].counts == {REPLAY: Counts(records=2, absent=2, dead=1)}
    assert outcome.lanes["b@w"].rows["id"].to_list() == [1, 2, 3]
    assert outcome.lanes["b@w"].counts == {REPLAY: Counts(records=3, absent=1, expanded=2, dead=2)}
    assert {(x.position.index, x.lanes) for x in outcome.letters} == {(2, ("a@w",)), (2, ("b@w",))}


def test_a_replay_decodes_a_record_once_however_many_rows_are_named(
    batch_of: BatchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counted(spec: ContractSpec, values: pl.Series, framing: Framing) -> Decoded:
        seen.append(len(values))
        return decode(spec, values, framing)

    monkeypatch.setattr("penstock.contract.decode", counted)
    stream = landing(Framing(many=True))
    stream.sink("t", store="w")
    values = [b"[%s]" % b",".join(map(order, range(50))), b"[%s,7]" % order(99)]
    entries = [(0, index, ["t@w"]) for index in range(50)] + [(1, 0, ["t@w"]), (1, 1, ["t@w"])]
    outcome = segment_of(stream).plan.run(replayed(batch_of(values), entries), ["t@w"])
    assert outcome.lanes["t@w"].rows["id"].to_list() == [*range(50), 99]
    assert [letter.position.index for letter in outcome.letters] == [1]
    assert seen == [2]


def test_a_replay_of_one_child_leaves_its_siblings_alone(batch_of: BatchOf) -> None:
    stream = landing(Framing(many=True))
    stream.explode("lines", OrderLine).sink("t", store="w")
    values = [b"[%s,%s]" % (order(1, lines='["a","b"]'), order(2, lines='["c","d"]'))]
    segment = segment_of(stream)
    for index, expected in [
        (2 << 20 | 1, ["d"]),
        (1, ["c", "d"]),
        (WHOLE, ["a", "b", "c", "d"]),
        (9, []),
        (2 << 20 | 7, []),
    ]:
        batch = replayed(batch_of(values), [(0, index, ["t@w"])])
        lane = segment.plan.run(batch, ["t@w"]).lanes["t@w"]
        assert lane.rows["lines"].to_list() == expected, index
        assert lane.counts[REPLAY] == Counts(records=1, expanded=len(expected) - 1)


def test_what_fails_again_keeps_the_index_of_its_letter(batch_of: BatchOf) -> None:
    stream = landing(Framing(many=True))
    stream.map(double_lines, Order).explode("lines", OrderLine).sink("t", store="w")
    bad = b"[%s]" % order(1, 13, lines='["a","b"]')
    batch = replayed(batch_of([bad, b"junk"]), [(0, 1 << 20 | 1, ["t@w"]), (1, 4, ["t@w"])])
    outcome = segment_of(stream).plan.run(batch, ["t@w"])
    assert {letter.position.index for letter in outcome.letters} == {1 << 20 | 1, 4}
    assert outcome.lanes["t@w"].counts[REPLAY] == Counts(records=2, dead=2)


def double_lines(frame: pl.DataFrame) -> pl.DataFrame:
    double(frame)
    return frame


# --- trimming ----------------------------------------------------------------------------------


def test_trim_drops_what_lies_before(batch_of: BatchOf) -> None:
    batch = batch_of([order(n) for n in range(4)], partitions=[0, 0, 1, 1])
    assert batch.trim({0: 100, 1: 7}) is batch
    trimmed = batch.trim({0: 101, 1: 500})
    assert trimmed.spans == {0: Span(101, 102), 1: Span(102, 102)}
    assert trimmed.records.select("partition", "offset").rows() == [(0, 101)]
    replay = replayed(batch, [(0, 0, []), (1, 0, []), (2, 0, [])])
    trimmed = replay.trim({REPLAY: 51})
    assert trimmed.spans == {REPLAY: Span(51, 53)}
    assert trimmed.records["at"].to_list() == [51, 52]
