"""Turns decoded structs into columns and says where the values are not proven to be exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
from msgspec.structs import astuple

from penstock.contract.forms import ARROW, FORMS, INTS, NUMBERS, instants, reading, utf8
from penstock.contract.structs import ABSENT, LITERALS
from penstock.contract.types import ChoiceType, Field, ListType, NestedType, Type

EXACT_INTS = 2.0**53
"""From here on not every int has a float that equals it."""

NOTHING = pl.Series([None], dtype=pl.String)

_unquote = msgspec.json.Decoder(str).decode


@dataclass(frozen=True)
class Objects:
    """Objects of one kind as columns.

    Args:
        frame: A column for each field.
        doubt: Where only `exact` can tell.
        names: How many named fields were found in each object, those of inner ones included.
    """

    frame: pl.DataFrame
    doubt: pl.Series
    names: pl.Series


def objects(fields: Sequence[Field], structs: list[Any]) -> Objects:
    """Turn structs into columns; what has to be read from text is read in one query."""
    reader = _Reader()
    columns = zip(*map(astuple, structs), strict=True) if structs else repeat(())
    for field, values in zip(fields, columns, strict=False):
        reader.field(field, values)
    return reader.read([f.name for f in fields])


def plain(fields: Sequence[Field], columns: Sequence[pl.Series]) -> Objects:
    """Read columns of text, in which numbers and bools are written as JSON writes them."""
    reader = _Reader()
    for field, texts in zip(fields, columns, strict=True):
        reader.plain(field, texts)
    return reader.read([f.name for f in fields])


class _Reader:
    """Gathers columns as they come from Python, and the expressions that read them."""

    def __init__(self) -> None:
        self.raw: list[pl.Series] = []
        self.always = 0
        self.read_by: list[pl.Expr] = []
        self.values: list[str] = []
        self.doubts: list[pl.Expr] = []
        self.names: list[pl.Expr] = []
        self.instants: dict[int, str] = {}

    def read(self, names: Sequence[str]) -> Objects:
        """Run the query."""
        found = pl.sum_horizontal(pl.lit(0, pl.UInt32), *self.names).cast(pl.UInt32) + self.always
        doubt = pl.any_horizontal(pl.lit(False), *(d.fill_null(False) for d in self.doubts))
        frame = pl.DataFrame(self.raw).with_columns_seq(
            *self.read_by, doubt.alias("doubt"), found.alias("names")
        )
        doubtful = frame["doubt"]
        values = [frame[name] for name in self.values]
        known = ~doubtful if self.instants and doubtful.any() else None
        for at, kind in self.instants.items():
            texts = values[at] if known is None else values[at].zip_with(known, NOTHING)
            values[at], wrong = instants(kind, texts)
            doubtful = doubtful if wrong is None else doubtful | wrong
        columns = pl.DataFrame([v.alias(name) for v, name in zip(values, names, strict=True)])
        return Objects(columns, doubtful, frame["names"])

    def field(self, field: Field, values: Sequence[Any]) -> None:
        """Take in one field of all objects."""
        nullable = field.nullable or field.is_born
        if nullable:
            there = [v is not msgspec.UNSET and v is not ABSENT for v in values]
            values = [v if given else None for v, given in zip(values, there, strict=True)]
            given = self._add(pl.Series(there, dtype=pl.Boolean))
            self.names.append(pl.col(given).cast(pl.UInt32))
        else:
            self.always += 1
        self.slot(field.type, values, nullable)

    def slot(self, type: Type, values: Sequence[Any], nullable: bool) -> None:
        """Take in the values of a field, or the elements of lists."""
        if isinstance(type, NestedType):
            self._nested(type, values)
        elif isinstance(type, ListType):
            self._lists(type, values)
        elif type.kind in LITERALS:
            self._literals(type, values, nullable)
        elif type.kind == "int":
            self._ints(values)
        elif type.kind in ("float", "bool", "choice"):
            name = self._add(pl.Series(values, dtype=type.polars))
            self.values.append(name)
            if type.kind == "float":
                self.doubts.append(pl.col(name).abs() >= EXACT_INTS)
        else:
            self._form(type, pl.Series(values, dtype=pl.String))

    def plain(self, field: Field, texts: pl.Series) -> None:
        """Take in one field of all records, as text."""
        type = field.type
        if not (field.nullable or field.is_born):
            self._doubtful(texts.is_null().to_list() if texts.null_count() else [])
        if isinstance(type, NestedType | ListType):
            self._doubtful([True] * len(texts))
            self.values.append(
                self._add(pl.repeat(None, len(texts), dtype=type.polars, eager=True))
            )
        elif type.kind in ("int", "float", "bool"):
            self._typed(type, texts)
        else:
            self.doubts.append(pl.col(self._add(texts)).str.contains("\0", literal=True))
            if isinstance(type, ChoiceType):
                self.doubts.append(~pl.col(f"r{len(self.raw) - 1}").is_in(list(type.values)))
            self._form(type, texts)

    def _typed(self, type: Type, texts: pl.Series) -> None:
        text = pl.col(self._add(texts))
        if type.kind == "bool":
            value, doubt = text == "true", ~text.is_in(["true", "false"])
        else:
            value = text.cast(type.polars, strict=False)
            form = INTS if type.kind == "int" else NUMBERS
            doubt = ~text.str.contains(form) | (value.is_null() & text.is_not_null())
        if type.kind == "float":
            doubt |= (value.abs() >= EXACT_INTS) | ~value.is_finite() | (text == "-0")
        name = f"r{len(self.raw) - 1}"
        self.read_by.append(value.alias(name))
        self.values.append(name)
        self.doubts.append(doubt)

    def _add(self, column: pl.Series) -> str:
        """Take a column in, under a name of its own."""
        name = f"r{len(self.raw)}"
        self.raw.append(column.alias(name))
        return name

    def _doubtful(self, rows: list[bool]) -> None:
        if any(rows):
            self.doubts.append(pl.col(self._add(pl.Series(rows, dtype=pl.Boolean))))

    def _form(self, type: Type, texts: pl.Series) -> None:
        name = self._add(texts)
        if type.kind in ARROW:
            self.instants[len(self.values)] = type.kind
        self.values.append(name)
        if type.kind in FORMS:
            value, doubt = reading(type, name)
            self.read_by.append(value)
            self.doubts.append(doubt)

    def _ints(self, values: Sequence[int | None]) -> None:
        try:
            column = pl.Series(values, dtype=pl.Int64)
        except (TypeError, OverflowError):  # one of them is beyond 64 bits
            beyond = [v is not None and not -(2**63) <= v < 2**63 for v in values]
            inside = [None if far else v for v, far in zip(values, beyond, strict=True)]
            column = pl.Series(inside, dtype=pl.Int64)
            self._doubtful(beyond)
        self.values.append(self._add(column))

    def _literals(self, type: Type, values: Sequence[Any], nullable: bool) -> None:
        raws = [None if v is None else bytes(v) for v in values]
        if nullable:
            raws = [None if raw == b"null" else raw for raw in raws]
        if type.kind == "decimal":
            return self._form(type, utf8(pl.Series(raws, dtype=pl.Binary)))
        texts = list(map(_text, raws))
        self._doubtful([t is None and r is not None for t, r in zip(texts, raws, strict=True)])
        return self._form(type, pl.Series(texts, dtype=pl.String))

    def _nested(self, type: NestedType, values: Sequence[Any]) -> None:
        """Build the objects that are there, then spread them over the rows."""
        there = [v for v in values if v is not None]
        inner = objects(type.fields, there)
        columns = [inner.frame.to_struct(), inner.doubt, inner.names]
        if len(there) < len(values):
            numbers = accumulate(v is not None for v in values)
            at = [None if v is None else n - 1 for v, n in zip(values, numbers, strict=True)]
            where = pl.Series(at, dtype=pl.UInt32)
            columns = [column.gather(where) for column in columns]
        struct, doubt, names = map(self._add, columns)
        self.values.append(struct)
        self.doubts.append(pl.col(doubt))
        self.names.append(pl.col(names))

    def _lists(self, type: ListType, values: Sequence[Any]) -> None:
        """Build all elements as one column, then cut it into the rows' lists."""
        reader = _Reader()
        reader.slot(type.element, list(chain.from_iterable(filter(None, values))), type.nullable)
        elements = reader.read([""])
        ends = list(accumulate((len(v) if v else 0 for v in values), initial=0))
        starts = [None if v is None else end for v, end in zip(values, ends[:-1], strict=True)]
        offsets = pa.array([*starts, ends[-1]], pa.int64())
        self.values.append(self._add(cut(elements.frame.to_series(), offsets).cast(type.polars)))
        doubt, names = (
            self._add(cut(elements.doubt, offsets)),
            self._add(cut(elements.names, offsets)),
        )
        self.doubts.append(pl.col(doubt).list.any())
        self.names.append(pl.col(names).list.sum().cast(pl.UInt32))


def _text(raw: bytes | None) -> str | None:
    """Read a string or a number's literal; None for anything else."""
    if raw is None:
        return None
    if raw[:1] == b'"':
        try:
            return _unquote(raw)
        except ValueError:  # not UTF-8
            return None
    return raw.decode() if raw[:1] in b"-0123456789" else None


def cut(column: pl.Series, offsets: pa.Array) -> pl.Series:
    """Cut a column into lists that begin at `offsets`, the last of which is the end."""
    lists = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, column.to_arrow()))
    assert isinstance(lists, pl.Series)  # noqa: S101
    return lists
