"""Names of folders and files: Hive's `column=value`, escaped as Hive does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any
from urllib.parse import unquote

import polars as pl

from penstock.contract.types import BoolType, DateType, IntType
from penstock.errors import Refused, Rejected
from penstock.sinks.files.settings import Part

NULL = "__HIVE_DEFAULT_PARTITION__"
LONGEST = 255
"""Bytes of a name on most file systems."""

MOST_FOLDERS = 2000
"""Folders that one micro-batch may write to."""

BOOKS = "_penstock"
"""The folder of manifests and staged files, beside the tables: no reader of a table sees it."""

# What Hive escapes in `FileUtils.escapePathName`, and Spark with it.
_ESCAPED = re.compile(r"[\x01-\x1f\x7f\"#%'*/:=?\\{\[\]^]")


def escaped(text: str) -> str:
    """Escape a value for the name of a folder."""
    return _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", text)


def table_folder(name: str) -> str:
    """Name the folder of a table.

    Raises:
        Refused: No folder can have such a name, or readers would not see it.
    """
    folder = escaped(name)
    if name.startswith(("_", ".")):
        raise Refused(
            f"a table of files cannot be named {name!r}: Spark and Hive hide folders that begin "
            "with '_' or '.'; name another one in .sink(...)"
        )
    if len(folder.encode()) > LONGEST:
        raise Refused(f"{name!r} is too long for the name of a folder; name another one")
    return folder


def folders(parts: Sequence[Part], rows: pl.DataFrame) -> pl.Series:
    """Name the folder of each row, such as `country=de/day=2026-11-20`; empty without parts."""
    if not parts:
        return pl.Series("folder", [""], dtype=pl.String).new_from_index(0, rows.height)
    keys = rows.select(text(part).alias(str(at)) for at, part in enumerate(parts))
    distinct = keys.unique()
    names = [
        "/".join(f"{escaped(p.name)}={_value(v)}" for p, v in zip(parts, row, strict=True))
        for row in distinct.iter_rows()
    ]
    named = distinct.with_columns(pl.Series("folder", names, dtype=pl.String))
    joined = keys.join(named, on=keys.columns, nulls_equal=True, how="left", maintain_order="left")
    return joined["folder"]


def unfit(parts: Sequence[Part], rows: pl.DataFrame) -> list[tuple[int, Rejected]]:
    """Find rows whose values no folder can be named by: for each its number and why."""
    found: dict[int, Rejected] = {}
    for part in (one for one in parts if one.field is not None):
        values = rows.select(text(part).alias("value"))["value"]
        reasons = {v: _unfit(part, v) for v in values.unique().drop_nulls().to_list()}
        for value in filter(reasons.get, reasons):
            error = Rejected(reasons[value], code="partition")
            found = {**dict.fromkeys((values == value).arg_true().to_list(), error), **found}
    return sorted(found.items(), key=lambda pair: pair[0])


def text(part: Part) -> pl.Expr:
    """Write the value that a folder is named by as text; null stays null."""
    value = pl.col(part.column)
    if part.field is None:
        return value.dt.date().cast(pl.String)
    return value.cast(pl.String)


def values(parts: Sequence[Part], name: str) -> dict[str, Any]:
    """Read the contract's fields that a file's folders are named by.

    Raises:
        Refused: The name is not one of ours.
    """
    pairs = [one.partition("=") for one in name.split("/")[:-1]]
    if [unquote(key) for key, _, _ in pairs] != [part.name for part in parts]:
        raise Refused(f"the file {name!r} lies in no folder of this table; move it away")
    return {
        part.name: _parsed(part, value)
        for part, (_, _, value) in zip(parts, pairs, strict=True)
        if part.field is not None
    }


def _value(value: str | None) -> str:
    return NULL if value is None else escaped(value)


def _unfit(part: Part, value: str) -> str:
    shown = f"{part.name} = {value[:80]!r}"
    if value in {"", NULL}:
        return f"{shown} cannot be told from null in the name of a folder"
    if len(f"{escaped(part.name)}={escaped(value)}".encode()) > LONGEST:
        return f"{shown}… is too long for the name of a folder"
    return ""


def _parsed(part: Part, value: str) -> Any:
    assert part.field is not None  # noqa: S101
    if value == NULL:
        return None
    plain = unquote(value)
    match part.field.type:
        case IntType():
            return int(plain)
        case BoolType():
            return plain == "true"
        case DateType():
            return date.fromisoformat(plain)
    return plain
