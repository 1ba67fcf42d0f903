"""What a trial's runs read: taken from sources or logs, made up, or kept in a file.

A file holds one JSON object on each line. `{"log": "orders", "partitions": 2}` says that there is
a log; `{"log": "orders", "partition": 0, "key": "7", "value": "…"}` is a record of it, those of a
partition in their order. `key_base64` and `value_base64` hold bytes that are no text; without a
value the record is a delete. `row` in place of `value` is a JSON document that is written in the
topic's own format. `headers` and `born` are as in `LOG_COLUMNS`. What is left out is chosen:
the partition by the key, as Kafka's default partitioner does, or in turn.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import polars as pl

from penstock.errors import DeclarationError
from penstock.plan import BATCH_SCHEMA
from penstock.serdes.partitioner import partition_of

SCHEMA = pl.Schema(
    {name: BATCH_SCHEMA[name] for name in ("partition", "key", "value", "headers", "born")}
    | {"row": pl.Boolean()}
)
"""Columns of recorded records. `row`: the value is to be written in the topic's format."""


@dataclass(frozen=True)
class Recorded:
    """A log as it was: its partitions, and records of `SCHEMA` in each one's order."""

    partitions: int
    records: pl.DataFrame


Recording = Mapping[str, Recorded]
"""By the name of a log."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    log: str
    partitions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    partition: Annotated[int, msgspec.Meta(ge=0)] | None = None
    key: str | None = None
    key_base64: bytes | None = None
    value: str | None = None
    value_base64: bytes | None = None
    row: str | None = None
    headers: list[tuple[str, bytes | None]] | None = None
    born: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


def completed(records: pl.DataFrame, partitions: int) -> Recorded:
    """Choose what records lack: partitions, the time of birth.

    Args:
        records: Any columns of `SCHEMA`, `value` among them; nulls are chosen, too.
        partitions: Of the log.
    """
    missing = [name for name in SCHEMA if name not in records.columns]
    given = records.with_columns(pl.lit(None, SCHEMA[name]).alias(name) for name in missing)
    given = given.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    by_key = pl.lit(partition_of(given["key"].fill_null(b""), partitions))
    in_turn = (pl.int_range(pl.len()) % partitions).cast(pl.Int32)
    place = pl.when(pl.col("key").is_null()).then(in_turn).otherwise(by_key)
    return Recorded(
        partitions,
        given.with_columns(
            pl.col("partition").fill_null(place),
            pl.col("born").fill_null(datetime.now(UTC)),
            pl.col("row").fill_null(value=False),
        ),
    )


def write(file: Path, recording: Recording) -> None:
    """Keep a recording in a file."""
    with file.open("wb") as out:
        for name, log in recording.items():
            out.write(_line({"log": name, "partitions": log.partitions}))
            for record in log.records.iter_rows(named=True):
                out.write(_line({"log": name, **dict(_members(record))}))


def _line(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode() + b"\n"


def _members(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "partition", record["partition"]
    yield "born", record["born"].isoformat()
    if record["headers"] is not None:
        yield "headers", json.loads(record["headers"])
    for name in ("key", "value"):
        found: bytes | None = record[name]
        if found is None:
            continue
        try:
            yield ("row" if name == "value" and record["row"] else name), found.decode()
        except UnicodeDecodeError:
            yield f"{name}_base64", base64.b64encode(found).decode()


def read(place: Path, landings: Iterable[str]) -> Recording:
    """Read a recording from a file, or logs from a folder.

    Args:
        place: A file of `write` or of a person, or a folder with a file for each log, named as the
            log with any suffix: each line of a topic's file is a value, and a landing's file is
            one response.
        landings: Which logs are landings.

    Raises:
        DeclarationError: It cannot be read, or a line is wrong; with file and line.
    """
    try:
        if place.is_dir():
            files = sorted(f for f in place.iterdir() if f.is_file() and f.name[0] != ".")
            return {file.stem: _plain(file, whole=file.stem in landings) for file in files}
        return _logs(place, place.read_bytes().split(b"\n"))
    except OSError as error:
        raise DeclarationError(f"the input cannot be read: {error}") from error


def _plain(file: Path, *, whole: bool) -> Recorded:
    found = file.read_bytes()
    values = [found] if whole else found.removesuffix(b"\n").split(b"\n") if found else []
    return completed(pl.DataFrame({"value": values}, schema={"value": pl.Binary}), 1)


def _logs(file: Path, lines: Iterable[bytes]) -> Recording:
    partitions: dict[str, int] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DeclarationError(
                f"this is no record of an input: {error}", file=str(file), line=number
            ) from error
        found = rows.setdefault(line.log, [])
        least = max(partitions.get(line.log, 1), (line.partition or 0) + 1, line.partitions or 1)
        partitions[line.log] = least
        if line.partitions is None:
            found.append(_record(line))
    return {
        name: completed(pl.DataFrame(found, schema=SCHEMA), partitions[name])
        for name, found in rows.items()
    }


def _record(line: _Line) -> dict[str, Any]:
    text = line.row if line.row is not None else line.value
    return {
        "partition": line.partition,
        "key": line.key_base64 if line.key is None else line.key.encode(),
        "value": line.value_base64 if text is None else text.encode(),
        "headers": None if line.headers is None else msgspec.json.encode(line.headers),
        "born": line.born,
        "row": line.row is not None,
    }
