"""Compares how fast topics' values are decoded into columns and encoded, in each format.

Run `python -m benchmarks.serdes [rows]`. Rates are rows per second of processor time, so that
other work on the machine disturbs little. The record is that of `benchmarks.decoders`. What is
not Penstock's does less: no constraints, no domains of types, and one bad record fails the batch.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import polars as pl

from benchmarks.decoders import SPEC
from penstock.contract import decode, encode, synthetic
from penstock.serdes import formats
from penstock.serdes.avro.encode import encode as encode_avro
from penstock.serdes.avro.schema import avro_schema

ROUNDS = 7
HEAD = b"\0\0\0\0\1"
SCHEMA = avro_schema(SPEC, "users")


def rate(work: Callable[[], Any], rows: int) -> float:
    """Rows per second of processor time, the median of some rounds."""
    work()
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return rows / median(times)


def candidates(frame: pl.DataFrame) -> dict[str, Callable[[], Any]]:
    documents, values = encode(SPEC, frame), encode_avro(SPEC.fields, frame)
    learnt = {"format": "avro", "topic": "users", "schemas": [[1, ["AVRO", SCHEMA, []]]]}
    codec, messages = formats.restored(learnt), encode_avro(SPEC.fields, frame, HEAD)
    given = {
        "decode JSON": lambda: decode(SPEC, documents),
        "decode Avro": lambda: codec.decode(SPEC, messages),
        "encode JSON": lambda: encode(SPEC, frame),
        "encode Avro": lambda: encode_avro(SPEC.fields, frame, HEAD),
        "polars read_avro (values joined to a file)": lambda: _polars(values.to_list()),
    }
    for name, column in (("JSON", documents), ("Avro", values)):
        size = int(column.bin.size().sum())
        sys.stdout.write(f"{name}: {size / len(frame):.0f} bytes a record\n")
    return given | (_fastavro(values.to_list()) if importlib.util.find_spec("fastavro") else {})


def _fastavro(values: list[bytes]) -> dict[str, Callable[[], Any]]:
    import fastavro

    schema: Any = fastavro.parse_schema(json.loads(SCHEMA))
    read, write = fastavro.schemaless_reader, fastavro.schemaless_writer

    def decoded() -> list[Any]:
        return [read(io.BytesIO(value), schema, None) for value in values]

    def written() -> list[bytes]:
        found = []
        for record in records:
            value = io.BytesIO()
            write(value, schema, record)
            found.append(value.getvalue())
        return found

    records = decoded()
    return {
        "fastavro, to dicts": decoded,
        "fastavro, to dicts, to columns": lambda: pl.DataFrame(
            [{**record, "id": str(record["id"])} for record in decoded()]
        ),
        "fastavro, from dicts": written,
    }


def _polars(values: list[bytes]) -> pl.DataFrame:
    """Join values to a container file; a mark before each would show one of another length."""
    fields = [{"name": "mark", "type": {"type": "fixed", "name": "m", "size": 16}}]
    written = json.loads(SCHEMA)
    written["fields"] = [*fields, *written["fields"]]
    mark, sync = os.urandom(16), os.urandom(16)
    meta = {b"avro.schema": json.dumps(written).encode(), b"avro.codec": b"null"}
    pairs = b"".join(_sized(name) + _sized(value) for name, value in meta.items())
    head = b"Obj\x01" + _long(len(meta)) + pairs + b"\0" + sync
    block = mark + mark.join(values)
    return pl.read_avro(io.BytesIO(head + _long(len(values)) + _sized(block) + sync))


def _sized(data: bytes) -> bytes:
    return _long(len(data)) + data


def _long(number: int) -> bytes:
    rest, groups = number * 2, []
    while rest >= 128:
        groups.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*groups, rest])


def main(rows: int = 20_000) -> None:
    for name, work in candidates(synthetic(SPEC, rows, seed=1)).items():
        sys.stdout.write(f"{name:44} {rate(work, rows) / 1000:6.0f}k rows/s\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
