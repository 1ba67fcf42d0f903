"""Lines of a stream: cut after any line, it goes on with the next one."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Refused
from penstock.sources.postgresql.literals import BUILT_IN, text
from penstock.sources.postgresql.standing import Standing, lsn_number, lsn_text, standing
from penstock.sources.postgresql.transactions import Transactions

TABLE = 7
BEGUN = Standing("1", 1, "s", "p", TABLE, ("id",), phase="stream", lsn=100)

Change = tuple[Any, ...]
IDS = st.integers(0, 3)
CHANGES = st.one_of(
    st.tuples(st.just("I"), IDS),
    st.tuples(st.just("U"), IDS),
    st.tuples(st.just("move"), IDS, IDS),
    st.tuples(st.just("D"), IDS),
    st.tuples(st.just("other"), IDS),
)
STREAMS = st.lists(st.lists(CHANGES, max_size=4), max_size=5)


def row(*values: bytes | None) -> bytes:
    parts = [b"n" if v is None else b"t" + struct.pack("!i", len(v)) + v for v in values]
    return struct.pack("!H", len(values)) + b"".join(parts)


def relation(oid: int, name: bytes = b"t", key: bytes = b"id", identity: bytes = b"d") -> bytes:
    columns = b"".join(
        bytes([column == key]) + column + b"\0" + struct.pack("!Ii", type_, -1)
        for column, type_ in ((b"id", 23), (b"v", 25))
    )
    return b"R" + struct.pack("!I", oid) + b"s\0" + name + b"\0" + identity + b"\0\2" + columns


def message(change: Change) -> bytes:
    kind, key, *more = change
    id_ = b"%d" % key
    oid = struct.pack("!I", TABLE)
    match kind:
        case "I":
            return b"I" + oid + b"N" + row(id_, b"new")
        case "U":
            return b"U" + oid + b"N" + row(id_, b"other")
        case "move":
            return b"U" + oid + b"K" + row(id_, None) + b"N" + row(b"%d" % more[0], b"moved")
        case "D":
            return b"D" + oid + b"K" + row(id_, None)
    return b"I" + struct.pack("!I", TABLE + 1) + b"N" + row(id_, b"not ours")


def sent(stream: list[list[Change]]) -> list[list[bytes]]:
    """The messages of each transaction."""
    made = []
    for number, changes in enumerate(stream):
        final = 100 + 50 * number
        begin = struct.pack("!cQqI", b"B", final, number, number)
        commit = struct.pack("!cBQQq", b"C", 0, final, final + 50, number)
        described = [relation(TABLE), relation(TABLE + 1, b"u")]
        made.append([begin, *described, *map(message, changes), commit])
    return made


def reader(at: Standing) -> Transactions:
    return Transactions(at, ("s", "t"), lambda oid: BUILT_IN.get(oid, text), "refuse")


def lines_of(given: Transactions, messages: Iterable[bytes]) -> list[tuple[bytes, Standing]]:
    """Each line with where the stream stood behind the message that gave it."""
    found = []
    for part in messages:
        lines = given.take(part)
        found += [(line, given.standing) for line in lines]
    return found


@given(STREAMS, st.data())
def test_a_stream_that_is_cut_after_a_message_goes_on_behind_it(
    stream: list[list[Change]], data: st.DataObject
) -> None:
    transactions = sent(stream)
    whole = lines_of(reader(BEGUN), [m for t in transactions for m in t])
    if not whole:
        return
    at = data.draw(st.integers(0, len(whole) - 1))
    landed = standing(json.loads(json.dumps(whole[at][1].cursor())))
    done = max(n for n, (_, stood) in enumerate(whole) if stood == landed)
    again = [m for t in transactions for m in t if _ends(t) > landed.lsn]
    rest = lines_of(reader(landed), again)
    assert [line for line, _ in rest] == [line for line, _ in whole[done + 1 :]]


def _ends(transaction: list[bytes]) -> int:
    end: int = struct.unpack("!cBQQq", transaction[-1])[3]
    return end


@given(STREAMS)
def test_folding_the_lines_gives_the_table(stream: list[list[Change]]) -> None:
    expected: dict[int, str] = {}
    for kind, key, *more in (change for changes in stream for change in changes):
        if kind in ("move", "D"):
            expected.pop(key, None)
        if kind in ("I", "U", "move"):
            expected[more[0] if more else key] = {"I": "new", "U": "other", "move": "moved"}[kind]
    rows: dict[int, str] = {}
    found = lines_of(reader(BEGUN), [m for t in sent(stream) for m in t])
    for line in (json.loads(line) for line, _ in found):
        rows.pop(line["key"]["id"], None)
        if line["op"] != "delete":
            rows[line["key"]["id"]] = line["after"]["v"]
    assert rows == expected


def test_a_transaction_that_was_landed_in_part_must_come_again() -> None:
    half = BEGUN.at(100, 150, 2)
    [first, second] = sent([[("I", 1)], [("I", 2)]])
    with pytest.raises(Refused, match="does not send the rest"):
        lines_of(reader(replace(half, final=120)), second)
    with pytest.raises(Refused, match="now sends 1 of it"):
        lines_of(reader(half), second)
    assert lines_of(reader(half), first[:3]) == []


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (relation(TABLE, key=b"v"), r"was \(id\) and is \(v\) now"),
        (relation(TABLE, key=b"", identity=b"n"), r"was \(id\) and is \(\) now"),
        (relation(TABLE + 1), "dropped and made again"),
    ],
)
def test_a_table_that_is_not_what_it_was_is_refused(described: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        reader(BEGUN).take(described)


@given(st.integers(0, 2**64 - 1))
def test_places_in_the_wal_are_written_as_postgresql_does(lsn: int) -> None:
    assert lsn_number(lsn_text(lsn)) == lsn
    assert lsn_text(0x1_0000_00AB) == "1/AB"


@pytest.mark.parametrize("cursor", [7, "x", [], {"page": 1}, {"lsn": "0"}])
def test_a_cursor_of_another_source_is_refused(cursor: Any) -> None:
    with pytest.raises(Refused, match="another kind of source"):
        standing(cursor)
