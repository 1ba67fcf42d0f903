"""Decodes many JSON documents fast, into columns, and says which of them it did not prove.

Each document is decoded by itself into a typed struct (msgspec: compiled, strict); then every
field becomes a column, and strings are read as UUIDs, datetimes, … for all rows at once
(`forms`). A document is in doubt when

* msgspec refuses it, or a column's reader is not sure of a value;
* it may name a field twice: msgspec would keep the last. The proof that none does: no name is
  written with escapes, and the names of fields occur, with a colon behind, as often as fields
  were found in the document;
* it may be nested too deep: it has more opening brackets than levels allowed.

The first kind is left to `exact` for good; the others only until `exact` has looked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import accumulate, chain
from operator import attrgetter, or_
from typing import Any, Literal

import msgspec
import polars as pl
import pyarrow as pa

from penstock.contract.exact import DEPTH, LARGEST
from penstock.contract.forms import FROM_LITERALS, FROM_STRINGS, utf8
from penstock.contract.spec import ContractSpec
from penstock.contract.types import ChoiceType, Field, ListType, NestedType, Type

ABSENT = msgspec.Raw(b"null")
EXACT_INTS = 2.0**53
SPACE = r"[ \t\r\n]*"
ESCAPED_NAME = rf'\\.[^"\\]*"{SPACE}:'
AWKWARD_NAME = r'["\\\x00-\x1f]|\A[\s,:\]}]|\A\z'


@dataclass(frozen=True)
class Column:
    """One slot's values of all rows.

    Args:
        values: The column.
        doubt: Where only `exact` can tell; None when it is nowhere.
        names: How many named fields were found inside of each value; None where none can be.
    """

    values: pl.Series
    doubt: pl.Series | None = None
    names: pl.Series | None = None


@dataclass(frozen=True)
class Table:
    """What the fast way read.

    Args:
        rows: The contract's columns and `_at`, the document's number.
        refused: Numbers of the documents that gave no row.
        doubtful: Numbers of those whose rows hold unless a name is doubled or nested too deep.
    """

    rows: pl.DataFrame
    refused: list[int]
    doubtful: list[int]


def read(spec: ContractSpec, documents: list[bytes]) -> Table:
    """Read documents, each by itself; see `Table`."""
    decode = _decoder(spec).decode
    structs: list[Any] = []
    good: list[int] = []
    refused: list[int] = []
    for at, document in enumerate(documents):
        try:
            structs.append(decode(document))
            good.append(at)
        except (ValueError, RecursionError):  # `exact` finds out why
            refused.append(at)
    kept = documents if not refused else [documents[at] for at in good]
    numbers = pl.Series("_at", good, dtype=pl.UInt32)
    rows, wrong, suspect = _rows(spec, kept, structs)
    rows = rows.with_columns(numbers)
    if wrong.any():
        rows = rows.filter(~wrong)
        refused += numbers.filter(wrong).to_list()
    return Table(rows, refused, numbers.filter(suspect & ~wrong).to_list())


def _rows(
    spec: ContractSpec, documents: list[bytes], structs: list[Any]
) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """Turn decoded documents into rows; say where a row is wrong, and where it is suspect."""
    columns, whole = _objects(spec.fields, structs)
    texts = utf8(pl.Series(documents, dtype=pl.Binary))
    wrong = (texts.str.len_bytes() > LARGEST).fill_null(True)
    if whole.doubt is not None:
        wrong |= whole.doubt
    return pl.DataFrame(columns), wrong, _suspect(spec, texts, whole.names)


def _suspect(spec: ContractSpec, texts: pl.Series, found: pl.Series) -> pl.Series:
    """Where a document may double a name, or be nested too deep."""
    names = names_pattern(frozenset(_names(spec.fields)))
    it = pl.col("text")
    doubled = pl.lit(True) if names is None else it.str.count_matches(names) != pl.col("found")
    deep = it.str.count_matches(r"[\[{]") > DEPTH
    escaped = it.str.contains(ESCAPED_NAME)
    frame = pl.DataFrame({"text": texts, "found": found})
    return frame.select((doubled | deep | escaped).fill_null(True)).to_series()


@cache
def names_pattern(names: frozenset[str]) -> str | None:
    """Match any of the names in JSON with its colon; None when one could be read amiss.

    A match begins at a quote. If that is the closing quote of a string, a comma, colon or
    bracket comes next, with which no name begins; so matches are names, and all of them.
    """
    ordered = pl.Series(sorted(names), dtype=pl.String)
    if ordered.str.contains(AWKWARD_NAME).any():
        return None
    return f'"(?:{"|".join(map(pl.escape_regex, ordered))})"{SPACE}:'


def _names(fields: Sequence[Field]) -> set[str]:
    inner = [f.type.inmost for f in fields]
    nested = [_names(type.fields) for type in inner if isinstance(type, NestedType)]
    return {f.json_name for f in fields}.union(*nested)


# --- structs -------------------------------------------------------------------------------------


@cache
def _decoder(spec: ContractSpec) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_struct(spec.name, spec.fields))


def _struct(name: str, fields: Sequence[Field]) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        name,
        [_slot_of(f) for f in fields],
        kw_only=True,
        gc=False,
        rename={f.name: f.json_name for f in fields},
    )


def _slot_of(field: Field) -> tuple[str, Any] | tuple[str, Any, Any]:
    python = _python(field.type, field.nullable or field.is_born)
    if not field.nullable and not field.is_born:
        return field.name, python
    if python is msgspec.Raw:
        return field.name, python, ABSENT
    return field.name, python | msgspec.UnsetType, msgspec.UNSET


def _python(type: Type, nullable: bool) -> Any:
    """The Python type that msgspec decodes a slot into."""
    if type.kind in FROM_LITERALS:
        return msgspec.Raw
    bare = _bare(type)
    return bare | None if nullable else bare


def _bare(type: Type) -> Any:
    if isinstance(type, ChoiceType):
        return Literal[type.values]
    if isinstance(type, ListType):
        return list[_python(type.element, type.nullable)]  # type: ignore[misc]
    if isinstance(type, NestedType):
        return _struct(type.name, type.fields)
    return {"int": int, "float": float, "bool": bool}.get(type.kind, str)


# --- columns -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Whole:
    """Doubt and names of objects, summed over their fields."""

    doubt: pl.Series | None
    names: pl.Series


def _objects(fields: Sequence[Field], structs: list[Any]) -> tuple[list[pl.Series], _Whole]:
    """Turn objects into one column for each field."""
    names = pl.Series([len(fields)], dtype=pl.UInt32).new_from_index(0, len(structs))
    columns, doubts = [], []
    for field in fields:
        values = list(map(attrgetter(field.name), structs))
        nullable = field.nullable or field.is_born
        if nullable:
            absent = [v is msgspec.UNSET or v is ABSENT for v in values]
            if any(absent):
                values = [None if gone else v for v, gone in zip(values, absent, strict=True)]
                names -= pl.Series(absent).cast(pl.UInt32)
        column = _column(field.type, values, nullable)
        columns.append(column.values.alias(field.name))
        if column.doubt is not None:
            doubts.append(column.doubt)
        if column.names is not None:
            names += column.names
    return columns, _Whole(reduce(or_, doubts) if doubts else None, names)


def _column(type: Type, values: list[Any], nullable: bool) -> Column:
    if isinstance(type, NestedType):
        return _nested(type, values)
    if isinstance(type, ListType):
        return _lists(type, values)
    if type.kind in FROM_LITERALS:
        return _literals(type, values, nullable)
    if read := FROM_STRINGS.get(type.kind):
        return Column(*read(type, pl.Series(values, dtype=pl.String)))
    if type.kind == "int":
        return _ints(values)
    column = pl.Series(values, dtype=type.polars)
    if type.kind == "float":
        return Column(column, (column.abs() >= EXACT_INTS).fill_null(False))
    return Column(column)


def _ints(values: list[int | None]) -> Column:
    try:
        return Column(pl.Series(values, dtype=pl.Int64))
    except TypeError:  # one of them is beyond 64 bits
        beyond = [v is not None and not -(2**63) <= v < 2**63 for v in values]
        inside = [None if far else v for v, far in zip(values, beyond, strict=True)]
        return Column(pl.Series(inside, dtype=pl.Int64), pl.Series(beyond))


def _literals(type: Type, values: list[Any], nullable: bool) -> Column:
    raws = [None if v is None else bytes(v) for v in values]
    texts = utf8(pl.Series(raws, dtype=pl.Binary))
    if nullable:
        texts = texts.set(texts == "null", None)
    return Column(*FROM_LITERALS[type.kind](type, texts))


def _nested(type: NestedType, values: list[Any]) -> Column:
    """Build the objects that are there, then spread them over the rows."""
    there = [v for v in values if v is not None]
    columns, whole = _objects(type.fields, there)
    objects = pl.DataFrame(columns).to_struct()
    if len(there) == len(values):
        return Column(objects, whole.doubt, whole.names)
    numbers = accumulate(v is not None for v in values)
    at = [None if v is None else n - 1 for v, n in zip(values, numbers, strict=True)]
    where = pl.Series(at, dtype=pl.UInt32)
    doubt = None if whole.doubt is None else whole.doubt.gather(where).fill_null(False)
    return Column(objects.gather(where), doubt, whole.names.gather(where).fill_null(0))


def _lists(type: ListType, values: list[Any]) -> Column:
    """Build all elements as one column, then cut it into the rows' lists."""
    elements = _column(
        type.element, list(chain.from_iterable(v for v in values if v)), type.nullable
    )
    ends = accumulate((len(v) if v else 0 for v in values), initial=0)
    starts = list(ends)
    offsets = [None if v is None else s for v, s in zip(values, starts[:-1], strict=True)]
    where = pa.array([*offsets, starts[-1]], pa.int64())
    doubt = None if elements.doubt is None else _cut(elements.doubt, where).list.any()
    names = None if elements.names is None else _cut(elements.names, where).list.sum()
    return Column(
        _cut(elements.values, where).cast(type.polars),
        None if doubt is None else doubt.fill_null(False),
        None if names is None else names.fill_null(0).cast(pl.UInt32),
    )


def _cut(column: pl.Series, offsets: pa.Array) -> pl.Series:
    lists = pa.LargeListArray.from_arrays(offsets, column.to_arrow())
    series = pl.from_arrow(lists)
    assert isinstance(series, pl.Series)  # noqa: S101
    return series
