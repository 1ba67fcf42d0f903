"""Reads Parquet row group by row group as NDJSON, losslessly; and unpacks compressed files.

Arrow's values are written as JSON that a contract can check: what JSON cannot say (a float that
is not finite, a time finer than microseconds or out of range) is written as the string that names
it, so that it is a dead letter and never another value.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from penstock.sources.whole import BLOCK, Piece, Unreadable, verify

if TYPE_CHECKING:
    from penstock.filesystems import Entry, FileSystem

_ROWS = 4096
_LARGEST = 64 * 1024 * 1024
_encode = msgspec.json.Encoder(decimal_format="number")


def pieces(files: FileSystem, entry: Entry, start: int) -> Iterator[Piece]:
    """Yield the rows of a file from number `start` on, some thousand of a row group at once.

    Raises:
        Unreadable: It is no Parquet file, or damaged.
        Unavailable: The system is away, or the file was changed meanwhile.
    """
    source = pa.PythonFile(_Ranges(files, entry), mode="r")
    try:
        with pq.ParquetFile(source) as file:
            _verify_names(file.schema_arrow)
            for group, first in _groups(file.metadata, start):
                yield from _group(files, entry, file, (group, first, start))
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        verify(files, entry)
        raise Unreadable(" ".join(str(error).split())[:300]) from None


def unpacked(files: FileSystem, entry: Entry, codec: str) -> Iterator[bytes]:
    """Yield what a compressed file holds; raises as `pieces` does."""
    packed = pa.PythonFile(_Ranges(files, entry), mode="r")
    try:
        with pa.CompressedInputStream(packed, codec) as stream:
            while block := stream.read(BLOCK):
                verify(files, entry)
                yield block
    except (pa.ArrowException, OSError) as error:
        verify(files, entry)
        raise Unreadable(str(error)) from None


def _groups(metadata: pq.FileMetaData, start: int) -> Iterator[tuple[int, int]]:
    """Number and first row of each row group that does not end before a row."""
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if first + rows > start:
            yield group, first
        first += rows


def _group(
    files: FileSystem, entry: Entry, file: pq.ParquetFile, place: tuple[int, int, int]
) -> Iterator[Piece]:
    """The rows of one row group from `start` on."""
    group, first, start = place
    for batch in file.iter_batches(_ROWS, row_groups=[group]):
        skipped = max(start - first, 0)
        if skipped < len(batch):
            body = documents(batch.slice(skipped))
            verify(files, entry)
            facts = {"row-group": str(group), "row": str(first + skipped), "made-from": "parquet"}
            yield Piece(body, first + len(batch), facts)
        first += len(batch)


def documents(batch: pa.RecordBatch) -> bytes:
    """Write rows as NDJSON."""
    names = batch.schema.names
    columns = [_named(*column) for column in zip(names, batch.columns, strict=True)]
    rows = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    return _encode.encode_lines(rows)


def _named(name: str, column: pa.Array) -> list[Any]:
    """The same as `_values`; what is wrong is said without a value, which may be a secret."""
    try:
        return _values(column)
    except (pa.ArrowException, ValueError, OverflowError):
        raise ValueError(
            f"its column {name!r} of the type {column.type} holds what has no form in JSON"
        ) from None


def _values(column: pa.Array) -> list[Any]:
    """A column as values that JSON writes without loss."""
    type = column.type
    if isinstance(column, pa.DictionaryArray):
        return _values(column.dictionary_decode())
    if pa.types.is_floating(type):
        return [_finite(value) for value in column.to_pylist()]
    if pa.types.is_timestamp(type):
        return _timestamps(column)
    if pa.types.is_time64(type) or pa.types.is_date64(type):
        return list(column.cast(pa.string()).to_pylist())
    if pa.types.is_duration(type) or pa.types.is_interval(type):
        raise ValueError
    if pa.types.is_struct(type):
        return _structs(column)
    if pa.types.is_map(type):
        pair = pa.struct([("key", type.key_type), ("value", type.item_type)])
        return _values(column.cast(pa.list_(pair)))
    if isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return _lists(column)
    return list(column.to_pylist())


def _finite(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _timestamps(column: pa.Array) -> list[Any]:
    """Datetimes where they hold each value, else text; without a zone they have none."""
    zone = column.type.tz
    try:
        exact = column.cast(pa.timestamp("us", "UTC" if zone else None))
        return list(exact.to_pylist())
    except (pa.ArrowInvalid, ValueError, OverflowError):
        text = pc.cast(
            column.cast(pa.timestamp(column.type.unit, "UTC" if zone else None)), pa.string()
        )
        return [v and v.replace(" ", "T") for v in text.to_pylist()]


def _structs(column: pa.StructArray) -> list[Any]:
    names = [field.name for field in column.type]
    rows = zip(*(_values(child) for child in column.flatten()), strict=True)
    there = column.is_valid().to_pylist()
    return [
        dict(zip(names, row, strict=True)) if valid else None
        for row, valid in zip(rows, there, strict=True)
    ]


def _lists(column: pa.ListArray) -> list[Any]:
    values = iter(_values(column.flatten()))
    sizes = pc.list_value_length(column).to_pylist()
    return [None if size is None else [next(values) for _ in range(size)] for size in sizes]


def _verify_names(schema: pa.Schema) -> None:
    names = schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"it has two columns of the name {twice[0]!r}")


class _Ranges(io.RawIOBase):
    """A file as Arrow reads it: some bytes here and there."""

    def __init__(self, files: FileSystem, entry: Entry) -> None:
        self._files = files
        self._entry = entry
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry.size}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(self._entry.size - self._at, 0)
        data = self._files.read(self._entry.name, self._at, left if size < 0 else min(size, left))
        self._at += len(data)
        return data
