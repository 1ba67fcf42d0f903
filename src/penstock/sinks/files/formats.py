"""Rows as the bytes of a file, and back."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from penstock.contract import ContractSpec, decode, encode
from penstock.contract.types import Field, IntType
from penstock.errors import Refused
from penstock.sinks.files import layout
from penstock.sinks.files.settings import PARQUET, Settings

POSITION = {"_partition": pl.Int32(), "_offset": pl.Int64(), "_index": pl.Int64()}
"""Columns that every file carries beside the contract's."""

_GROUP = 100_000
"""Rows of a row group."""


class Format:
    """How a table's rows lie in its files.

    Args:
        spec: The contract.
        settings: The table's.
    """

    def __init__(self, spec: ContractSpec, settings: Settings) -> None:
        self._spec = spec
        self._settings = settings
        outside = {part.name for part in settings.parts if part.field is not None}
        self._inside = [field.name for field in spec.fields if field.name not in outside]
        # under other names than those that the decoder gives to places of its own
        places = tuple(Field(_apart(name), name, IntType()) for name in POSITION)
        own = spec.only(self._inside)
        self._documents = replace(own, fields=(*own.fields, *places))

    def encode(self, rows: pl.DataFrame) -> bytes:
        """Write rows as a file."""
        rows = rows.select(*self._inside, *POSITION)
        if self._settings.format == PARQUET:
            return self._written(rows)
        places = rows.cast({"_partition": pl.Int64()}).rename(_apart)
        documents = encode(self._documents, places)
        return self._squeezed(b"".join(line + b"\n" for line in documents.to_list()))

    def decode(self, name: str, data: bytes) -> pl.DataFrame:
        """Read a file: the contract's columns, then the position.

        Args:
            name: Of the file, below the table's folder.
            data: What is in it.

        Raises:
            Refused: It does not fit the contract; somebody changed it.
        """
        given = layout.values(self._settings.parts, name)
        rows = (
            self._from_parquet(name, data) if name.endswith(".parquet") else self._from(name, data)
        )
        return self._completed(rows, given)

    def merge(self, files: Sequence[tuple[str, bytes]]) -> tuple[bytes, dict[int, int]]:
        """Make one file of several of a folder; columns that only some have stay.

        Args:
            files: Name and content of each.

        Returns:
            The file, and how many rows of each partition it has.
        """
        if self._settings.format != PARQUET:
            plain = b"".join(_plain(name, data) for name, data in files)
            rows = pl.concat([self.decode(name, data) for name, data in files])
            return self._squeezed(plain), _counts(rows)
        rows = pl.concat([self._from_parquet(name, data) for name, data in files], how="diagonal")
        return self._written(rows), _counts(rows)

    # --- inside ---

    def _written(self, rows: pl.DataFrame) -> bytes:
        """Write Parquet by Arrow: Hive 2 reads its decimals, and not those of Polars."""
        out = pa.BufferOutputStream()
        parquet.write_table(
            rows.to_arrow(),
            out,
            compression=self._settings.compression,
            row_group_size=_GROUP,
            store_schema=False,
        )
        return bytes(out.getvalue())

    def _squeezed(self, data: bytes) -> bytes:
        match self._settings.compression:
            case "gzip":
                return gzip.compress(data, compresslevel=6, mtime=0)
            case "zstd":
                return bytes(pa.compress(data, codec="zstd", asbytes=True)) if data else data
        return data

    def _from_parquet(self, name: str, data: bytes) -> pl.DataFrame:
        try:
            return pl.read_parquet(io.BytesIO(data))
        except pl.exceptions.PolarsError as error:
            raise Refused(f"the file {name!r} is no Parquet file: {error}; restore it") from error

    def _from(self, name: str, data: bytes) -> pl.DataFrame:
        lines = _plain(name, data).split(b"\n")[:-1]
        decoded = decode(self._documents, pl.Series(lines, dtype=pl.Binary))
        if decoded.failures:
            first = decoded.failures[0]
            raise Refused(
                f"the file {name!r}, line {first.row + 1}: {first.cause.rule}; restore it"
            )
        return decoded.rows.drop("_index", strict=False).rename({_apart(n): n for n in POSITION})

    def _completed(self, rows: pl.DataFrame, given: Mapping[str, Any]) -> pl.DataFrame:
        columns = []
        for name, dtype in {**self._spec.polars, **POSITION}.items():
            if name in given:
                columns.append(pl.lit(given[name]).cast(dtype).alias(name))
            elif name in rows.columns:
                columns.append(pl.col(name).cast(dtype))
            else:  # a file of an older contract
                columns.append(pl.lit(None).cast(dtype).alias(name))
        return rows.select(columns)


def _counts(rows: pl.DataFrame) -> dict[int, int]:
    return dict(rows["_partition"].value_counts().iter_rows())


def _apart(name: str) -> str:
    return f"_place{name}" if name in POSITION else name


def _plain(name: str, data: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.decompress(data)
    if name.endswith(".zst") and data:
        return bytes(pa.input_stream(pa.BufferReader(data), compression="zstd").read())
    return data
