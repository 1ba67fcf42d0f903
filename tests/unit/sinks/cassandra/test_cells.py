"""Columns are packed into the very bytes that the driver would write, value by value."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
from cassandra import ConsistencyLevel, cqltypes
from cassandra.protocol import BatchMessage
from cassandra.query import BatchType
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from penstock import contract as ps
from penstock.contract.types import DecimalType
from penstock.sinks.cassandra.cells import fields_raw, key_bytes, pack, raw
from penstock.sinks.cassandra.columns import column_type, flat, from_rows
from penstock.sinks.cassandra.wire import Handler, PackedBatch, Rows
from penstock.testing.conformance.subjects import Everything, everything

TYPES: dict[str, Any] = {
    "bigint": cqltypes.LongType,
    "double": cqltypes.DoubleType,
    "boolean": cqltypes.BooleanType,
    "date": cqltypes.SimpleDateType,
    "uuid": cqltypes.UUIDType,
    "blob": cqltypes.BytesType,
    "decimal": cqltypes.DecimalType,
    "text": cqltypes.UTF8Type,
}
SPEC = ps.spec(Everything)


def test_every_type_is_written_as_the_driver_writes_it_and_comes_back() -> None:
    sent = everything()
    columns = []
    for field, values in zip(
        SPEC.fields, fields_raw(SPEC.fields, flat(SPEC.fields, sent)), strict=True
    ):
        cql = TYPES[column_type(field.type)]
        read = [None if value is None else cql.deserialize(value, 4) for value in values]
        again = [None if value is None else cql.serialize(value, 4) for value in read]
        assert values.to_list() == again, field.name
        columns.append(read)
    back = from_rows(SPEC, list(zip(*columns, range(sent.height), strict=True)))
    assert_frame_equal(back.drop("_order"), sent)


@given(st.lists(st.none() | st.integers(-(10**38) + 1, 10**38 - 1), min_size=1))
def test_decimals(digits: list[int | None]) -> None:
    made = pl.Series(digits, dtype=pl.Int128)
    values = made.to_frame("v").select(pl.col("v").cast(pl.Decimal(38, 0)))["v"]
    whole = raw(DecimalType(38, 0), values).to_list()
    for number, value in zip(digits, whole, strict=True):
        if number is None:
            assert value is None
        else:
            assert cqltypes.DecimalType.serialize(number, 4) == value


@settings(deadline=None)
@given(st.lists(st.tuples(st.none() | st.binary(), st.none() | st.integers(-(2**63), 2**63 - 1))))
def test_packed_rows_are_what_the_driver_writes(
    values: list[tuple[bytes | None, int | None]],
) -> None:
    frame = pl.DataFrame(values, schema={"a": pl.Binary, "b": pl.Int64}, orient="row")
    packed = pack(b"statement", [raw(None, frame["a"]), raw(None, frame["b"])])
    assert len(packed) == len(values)
    for start in range(0, len(values), 3):
        some = values[start : start + 3]
        ours = PackedBatch(Rows(len(some), packed.rows(start, start + len(some))))
        queries = [
            (True, b"statement", (a, None if b is None else cqltypes.LongType.serialize(b, 4)))
            for a, b in some
        ]
        assert _encoded(ours._statements_and_parameters) == _encoded(queries)


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), min_size=1))
def test_a_composite_key_is_hashed_as_the_driver_hashes_it(keys: list[tuple[bytes, bytes]]) -> None:
    parts = [pl.Series([key[at] for key in keys], dtype=pl.Binary) for at in (0, 1)]
    expected = [
        b"".join(len(part).to_bytes(2, "big") + part + b"\0" for part in key) for key in keys
    ]
    assert key_bytes(parts).to_list() == expected


def _encoded(queries: Any) -> bytes:
    message = BatchMessage(BatchType.UNLOGGED, queries, ConsistencyLevel.LOCAL_QUORUM)
    encoded: bytes = Handler.encode_message(message, 7, 4, None, False)
    assert io.BytesIO(encoded).read(1) == b"\x04"
    return encoded
