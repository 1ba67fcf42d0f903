"""The decoder of pgoutput against an encoder written from the manual, and against any bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.sources.postgresql.pgoutput import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Decoded,
    Delete,
    Insert,
    Malformed,
    Message,
    Origin,
    Relation,
    Truncate,
    Type,
    Update,
    Values,
    decode,
)

LSN = st.integers(0, 2**64 - 1)
TIME = st.integers(-(2**63), 2**63 - 1)
OID = st.integers(0, 2**32 - 1)
NAME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
VALUES = st.lists(st.none() | st.just(UNCHANGED) | st.binary(), max_size=8)
COLUMNS = st.lists(st.builds(Column, st.booleans(), NAME, OID, st.integers(-1, 9)), max_size=5)

MESSAGES: st.SearchStrategy[Decoded] = st.one_of(
    st.builds(Begin, LSN, TIME, OID),
    st.builds(Commit, LSN, LSN, TIME),
    st.builds(Relation, OID, NAME, NAME, st.sampled_from("dnfi"), COLUMNS.map(tuple)),
    st.builds(Type, OID, NAME, NAME),
    st.builds(Insert, OID, VALUES),
    st.builds(Update, OID, st.none(), st.just(False), VALUES),
    st.builds(Update, OID, VALUES, st.booleans(), VALUES),
    st.builds(Delete, OID, VALUES, st.booleans()),
    st.builds(Truncate, st.lists(OID).map(tuple), st.integers(0, 3)),
    st.builds(Origin, LSN, NAME),
    st.builds(Message, st.booleans(), LSN, NAME, st.binary()),
)


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def values(given: Values) -> bytes:
    parts = [struct.pack("!H", len(given))]
    for value in given:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, bytes):
            parts.append(b"t" + struct.pack("!i", len(value)) + value)
        else:
            parts.append(b"u")
    return b"".join(parts)


def encode(message: Decoded) -> bytes:  # noqa: C901 - a case for each kind of message
    match message:
        case Begin(final, time, xid):
            return struct.pack("!cQqI", b"B", final, time, xid)
        case Commit(lsn, end, time):
            return struct.pack("!cBQQq", b"C", 0, lsn, end, time)
        case Relation(oid, schema, name, identity, columns):
            head = struct.pack("!cI", b"R", oid) + text(schema) + text(name)
            head += identity.encode() + struct.pack("!H", len(columns))
            return head + b"".join(
                struct.pack("!B", c.key) + text(c.name) + struct.pack("!Ii", c.type, c.modifier)
                for c in columns
            )
        case Type(oid, schema, name):
            return struct.pack("!cI", b"Y", oid) + text(schema) + text(name)
        case Insert(oid, new):
            return struct.pack("!cIc", b"I", oid, b"N") + values(new)
        case Update(oid, old, full, new):
            head = struct.pack("!cI", b"U", oid)
            if old is not None:
                head += (b"O" if full else b"K") + values(old)
            return head + b"N" + values(new)
        case Delete(oid, old, full):
            return struct.pack("!cIc", b"D", oid, b"O" if full else b"K") + values(old)
        case Truncate(oids, options):
            return struct.pack(f"!cIB{len(oids)}I", b"T", len(oids), options, *oids)
        case Origin(lsn, name):
            return struct.pack("!cQ", b"O", lsn) + text(name)
        case Message(transactional, lsn, prefix, content):
            head = struct.pack("!cBQ", b"M", transactional, lsn) + text(prefix)
            return head + struct.pack("!i", len(content)) + content


@given(MESSAGES)
def test_every_message_is_read_as_it_was_written(message: Decoded) -> None:
    assert decode(encode(message)) == message


@given(MESSAGES, st.data())
def test_a_message_that_is_cut_is_malformed(message: Decoded, data: st.DataObject) -> None:
    whole = encode(message)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(Malformed):
        decode(cut)


@given(MESSAGES, st.binary(min_size=1))
def test_a_message_with_something_behind_it_is_malformed(message: Decoded, more: bytes) -> None:
    with pytest.raises(Malformed):
        decode(encode(message) + more)


@given(st.sampled_from(list(b"BCORYIUDTM")), st.binary(max_size=60))
def test_any_bytes_are_a_message_that_says_all_of_them_or_malformed(kind: int, rest: bytes) -> None:
    data = bytes([kind]) + rest
    try:
        message = decode(data)
    except Malformed:
        return
    assert encode(message) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Zzzz",
        b"C" + b"\1" + bytes(24),
        b"T" + struct.pack("!IB", 0, 9),
        b"I" + bytes(4) + b"K" + bytes(2),
        b"D" + bytes(4) + b"N" + bytes(2),
        b"I" + bytes(4) + b"N" + struct.pack("!Hci", 1, b"t", -1),
        b"I" + bytes(4) + b"N" + struct.pack("!Hc", 1, b"b"),
        b"R" + bytes(4) + b"s\0t\0" + b"x" + bytes(2),
    ],
)
def test_what_the_protocol_does_not_have_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(data)
