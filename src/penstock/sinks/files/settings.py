"""What a profile says about a table of files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock import units
from penstock.contract import ContractSpec
from penstock.contract.types import (
    BoolType,
    ChoiceType,
    DatetimeType,
    DateType,
    Field,
    IntType,
    StrType,
    UuidType,
)
from penstock.errors import ProfileError
from penstock.plan import Lane
from penstock.profile import Store

PARQUET, NDJSON = "parquet", "ndjson"

COMPRESSIONS = {
    PARQUET: ("zstd", "snappy", "gzip", "none"),
    NDJSON: ("none", "gzip", "zstd"),
}
"""For each format its compressions; the first is what is used unless another is named."""

_KNOWN = ("format", "compression", "partition_by", "rows", "bytes", "age")
_DAY = re.compile(r"date\((\w+)\)")
_VALUES = (StrType, UuidType, IntType, BoolType, DateType, ChoiceType)
_FORM = 'a list of columns and days, such as ["country", "date(ordered_at)"]'

BORN = "_born"


@dataclass(frozen=True)
class Part:
    """What the folders of one level are named by.

    Args:
        name: Before the `=`.
        column: The column that gives the value.
        field: The contract's field, which is not in the files then; None for the day of `column`.
    """

    name: str
    column: str
    field: Field | None = None


@dataclass(frozen=True)
class Settings:
    """How a table's files are.

    Args:
        format: `parquet` or `ndjson`.
        compression: One of the format's.
        parts: Levels of folders, from the outermost; empty for none.
        rows: The most records in a micro-batch.
        bytes: The most bytes of the log in a micro-batch.
        age: Seconds from one micro-batch to the next while less than that is there.
    """

    format: str = PARQUET
    compression: str = "zstd"
    parts: tuple[Part, ...] = ()
    rows: int = 200_000
    bytes: int = 32 << 20
    age: float = 10.0

    @property
    def suffix(self) -> str:
        """How the names of files end."""
        if self.format == PARQUET:
            return ".parquet"
        return {"none": ".json", "gzip": ".json.gz", "zstd": ".json.zst"}[self.compression]


def read(store: Store, lane: Lane) -> Settings:
    """Read the settings of a lane's table.

    Raises:
        ProfileError: A setting is unknown or has a wrong value.
    """
    table = store.tables.get(lane.table, {})
    where = f"store {store.name!r}, table {lane.table!r}"
    if unknown := set(table) - {*_KNOWN}:
        raise ProfileError(
            f"{where}: there is no setting {sorted(unknown)[0]!r}; there are {', '.join(_KNOWN)}"
        )
    format = _one_of(where, "format", table.get("format", PARQUET), tuple(COMPRESSIONS))
    known = COMPRESSIONS[format]
    return Settings(
        format,
        _one_of(where, "compression", table.get("compression", known[0]), known),
        _parts(where, lane.spec, table.get("partition_by", [])),
        _rows(where, table.get("rows", Settings.rows)),
        _amount(where, table, "bytes", Settings.bytes),
        _amount(where, table, "age", Settings.age),
    )


def _one_of(where: str, name: str, value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ProfileError(f"{where}: {name} is {' or '.join(known)}, not {value!r}")
    return str(value)


def _rows(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ProfileError(f"{where}: rows is a number from 1 on, not {value!r}")
    return value


def _amount(where: str, table: Mapping[str, Any], name: str, usual: Any) -> Any:
    if name not in table:
        return usual
    try:
        return (units.size if name == "bytes" else units.seconds)(table[name])
    except ValueError as error:
        raise ProfileError(f"{where}: {name}: {error}") from None


def _parts(where: str, spec: ContractSpec, value: object) -> tuple[Part, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ProfileError(f"{where}: partition_by is {_FORM}, not {value!r}")
    fields = {field.name: field for field in spec.fields}
    parts = tuple(_part(where, fields, text) for text in value)
    names = [part.name for part in parts]
    plain = {part.column for part in parts if part.field}
    taken = [p.name for p in parts if p.field is None and p.name in fields] + [
        name for name in names if names.count(name) > 1
    ]
    if taken:
        raise ProfileError(f"{where}: partition_by names two things {taken[0]!r}; leave one out")
    if plain >= fields.keys():
        raise ProfileError(f"{where}: partition_by leaves no column for the files; leave one out")
    return parts


def _part(where: str, fields: Mapping[str, Field], text: str) -> Part:
    day = _DAY.fullmatch(text)
    name = day[1] if day else text
    field = fields.get(name)
    if day and (name == BORN or (field and isinstance(field.type, DatetimeType))):
        return Part(f"{name.strip('_')}_date", name)
    if day or field is None:
        known = ", ".join(fields)
        kind = "datetime" if day else "field"
        raise ProfileError(
            f"{where}: partition_by: the contract has no {kind} {name!r}; it has {known}"
            + (" (and date(_born) is the day when a record was first seen)" if day else "")
        )
    if not isinstance(field.type, _VALUES):
        hint = f"; write 'date({name})'" if isinstance(field.type, DatetimeType) else ""
        raise ProfileError(f"{where}: folders cannot be named by {name!r}{hint}")
    if name.startswith("_"):
        raise ProfileError(f"{where}: Hive does not see folders named by {name!r}")
    return Part(name, name, field)
