"""Applies masks: to columns that were decoded, and to what a dead letter says of a record.

Equal values of one type give equal masked values in every field, contract and pipeline that has
the same key: what is hashed is the value's text alone, as it stands in JSON.
"""

from __future__ import annotations

import hmac
import platform
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import polars as pl

from penstock.contract.encode import safe
from penstock.contract.masks import HIDDEN, Mask, is_open
from penstock.contract.spec import ContractSpec
from penstock.contract.types import BytesType, Field, ListType, NestedType, StrType, Type
from penstock.errors import ProfileError, Refused
from penstock.records import Cause

MASKED = "masked"
"""What a dead letter shows in place of a value that may hold what is masked."""

Texts = Callable[[Sequence[bytes | None]], list[str | None]]
"""Masks the texts of a column, one by one."""

_CHECK = b"penstock: which key is this?"


def mask(spec: ContractSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Mask columns as they were decoded: from here on the rows fit `spec.masked`.

    Args:
        spec: The contract, or a part of it.
        frame: At least its columns.

    Raises:
        ProfileError: The key is not in the environment, or too short.
    """
    if not spec.masks:
        return frame
    return frame.with_columns(
        _field(field, pl.col(field.name)).alias(field.name)
        for field in spec.fields
        if is_open(field)
    )


def secret(one: Mask) -> bytes:
    """Read the key of a mask.

    Raises:
        ProfileError: It is not in the environment, or too short.
    """
    assert one.key is not None  # noqa: S101
    try:
        return one.key.secret()
    except ProfileError as error:
        raise ProfileError(
            f"{error}: it is a mask's key, needed wherever the plan runs (here {platform.node()})"
        ) from None


def keys(spec: ContractSpec) -> dict[str, str]:
    """Tell for each key, by the name of its variable, a value that shows whether it changed.

    The value says nothing of the key.

    Raises:
        ProfileError: A key is not in the environment, or too short.
    """
    found = (m for m in _masks(spec.fields) if m.key is not None)
    return {m.key.name: hmac.digest(secret(m), _CHECK, "sha256").hex()[:16] for m in found if m.key}


def verify(spec: ContractSpec, expected: Mapping[str, str]) -> None:
    """Make sure that keys are the same in another process, where `keys` gave `expected`.

    Raises:
        Refused: One of them is another here.
        ProfileError: A key is not in the environment, or too short.
    """
    for name, value in keys(spec).items():
        if expected.get(name) != value:
            raise Refused(
                f"{name}, a mask's key, is another one on {platform.node()} than where the "
                "pipeline was started; set the same there"
            )


def cause(spec: ContractSpec, found: Cause) -> Cause:
    """Take out of a cause what may hold a masked value: only other fields' own values stay."""
    if not spec.masks or _is_plain(spec.fields, found):
        return found
    return replace(found, value=MASKED if found.value else "", detail="")


def _is_plain(fields: Sequence[Field], found: Cause) -> bool:
    """Whether a cause shows the value of a field that is not masked, nor holds one that is."""
    name, *inner = found.field.split(".")
    field = next((f for f in fields if name in (f.name, f.json_name)), None)
    if field is None or any("." in f.json_name for f in fields):  # whose path it is, is unsure
        return False
    if not is_open(field):
        return True
    if field.mask is not None or found.stage != "decode":  # others show the outermost column
        return False
    while inner and (inner[0].isdigit() or inner[0] == "*"):
        inner.pop(0)
    type = field.type.inmost
    rest = replace(found, field=".".join(inner))
    return isinstance(type, NestedType) and _is_plain(type.fields, rest)


def _masks(fields: Sequence[Field]) -> Iterator[Mask]:
    for field in fields:
        if field.mask is not None and not field.is_masked:
            yield field.mask
        elif isinstance(field.type.inmost, NestedType):
            yield from _masks(field.type.inmost.fields)


def _field(field: Field, value: pl.Expr) -> pl.Expr:
    if field.mask is None:
        return _inside(field.type, value)
    if field.mask.way == "redact":
        return _redacted(field.type, value)
    return _scalars(field.type, value, _way(field.mask, field.type.inmost))


def _inside(type: Type, value: pl.Expr) -> pl.Expr:
    """Mask the fields of contracts inside."""
    if isinstance(type, ListType):
        return value.list.eval(_inside(type.element, pl.element()))
    assert isinstance(type, NestedType)  # noqa: S101
    columns = []
    for field in type.fields:
        inner = value.struct.field(field.name)
        columns.append((_field(field, inner) if is_open(field) else inner).alias(field.name))
    return pl.when(value.is_not_null()).then(pl.struct(columns))


def _scalars(type: Type, value: pl.Expr, way: Callable[[Type, pl.Expr], pl.Expr]) -> pl.Expr:
    if isinstance(type, ListType):
        return value.list.eval(_scalars(type.element, pl.element(), way))
    return way(type, value)


def _redacted(type: Type, value: pl.Expr) -> pl.Expr:
    if isinstance(type, BytesType):
        return pl.when(value.is_not_null()).then(pl.lit(b""))
    if isinstance(type, ListType):
        return value.list.head(0)
    if type.polars == pl.String:
        return pl.when(value.is_not_null()).then(pl.lit(HIDDEN))
    return pl.when(pl.lit(value=False)).then(value)


def _way(one: Mask, type: Type) -> Callable[[Type, pl.Expr], pl.Expr]:
    if one.way == "partial":
        return partial(_partial, one)
    key = secret(one)
    if one.way == "hash":
        return partial(_each, partial(_hashed, key))
    from penstock.contract import tokens

    return partial(_each, partial(_tokenised, tokens.cipher(key)))


def _partial(one: Mask, type: Type, value: pl.Expr) -> pl.Expr:
    """Keep the ends, if they are at most half of what is before `after`."""
    whole, tail = value, pl.lit("")
    if one.after:
        at = value.str.split(one.after)
        has = at.list.len() > 1
        tail = pl.when(has).then(pl.lit(one.after) + at.list.last()).otherwise(pl.lit(""))
        whole = value.str.head(value.str.len_chars().cast(pl.Int64) - tail.str.len_chars())
    kept = whole.str.head(one.first) + HIDDEN + whole.str.tail(one.last)
    long = whole.str.len_chars() >= 2 * (one.first + one.last)
    return pl.when(value.is_not_null()).then(
        pl.when(long).then(kept).otherwise(pl.lit(HIDDEN)) + tail
    )


def _each(way: Texts, type: Type, value: pl.Expr) -> pl.Expr:
    text = safe(type, value).cast(pl.String)

    def masked(column: pl.Series) -> pl.Series:
        return pl.Series(column.name, way(column.cast(pl.Binary).to_list()), dtype=pl.String)

    return text.map_batches(masked, return_dtype=StrType.polars, is_elementwise=True)


def _hashed(key: bytes, values: Sequence[bytes | None]) -> list[str | None]:
    digest = hmac.digest
    return [None if v is None else digest(key, v, "sha256").hex() for v in values]


def _tokenised(
    cipher: Callable[[bytes], bytes], values: Sequence[bytes | None]
) -> list[str | None]:
    return [
        None if v is None else urlsafe_b64encode(cipher(v)).rstrip(b"=").decode() for v in values
    ]
