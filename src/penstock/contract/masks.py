"""Masks: how a field's value is hidden from everything but the landing. `masking` applies them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from penstock.contract.constraints import Constraint, Length, OneOf, Pattern
from penstock.contract.types import (
    BoolType,
    BytesType,
    ChoiceType,
    Field,
    FloatType,
    ListType,
    NestedType,
    StrType,
    Type,
    UuidType,
)

if TYPE_CHECKING:
    from penstock.profile import EnvVar

Way = Literal["hash", "tokenise", "partial", "redact"]

HIDDEN = "***"
"""Stands for what `partial` and `redact` take away: always as long, whatever it was."""

_WAYS = ("hash", "tokenise", "partial", "redact")
_KEYED = ("hash", "tokenise")
_FORMS: dict[str, tuple[Constraint, ...]] = {
    "hash": (Pattern("[0-9a-f]{64}"),),
    "tokenise": (Pattern("[A-Za-z0-9_-]{22,}"),),
    "partial": (),
}
"""What masked values obey."""


@dataclass(frozen=True)
class Mask:
    """How a field is masked; see `masked`."""

    way: Way
    key: EnvVar | None = None
    first: int = 0
    last: int = 0
    after: str = ""

    def wrong(self, type: Type) -> str | None:
        """Say why a field of this type cannot be masked so, or None."""
        return _wrong_options(self) or _wrong_type(self, type)

    def to_json(self) -> dict[str, Any]:
        """The mask as plain data: the name of its key, never the key."""
        return {
            "way": self.way,
            "key": self.key.name if self.key else "",
            "first": self.first,
            "last": self.last,
            "after": self.after,
        }


def masked(
    way: Way, *, key: EnvVar | None = None, first: int = 0, last: int = 0, after: str = ""
) -> Any:
    """Mask a field: what comes after the landing sees only the masked value.

    It stands on the right of a field, or in its `Annotated` beside `ps.key()`; a list is masked
    element by element. The field's constraints hold for the value as it came.

    Args:
        way: `"hash"` is HMAC-SHA-256 in hex: equal values stay equal, so keys still join, and
            nobody can turn it back. `"tokenise"` (AES-SIV) also keeps equal values equal, and
            `ps.detokenise` turns it back for who has the key. `"partial"` keeps an end of a str.
            `"redact"` leaves nothing: `***`, an empty list or bytes, or null.
        key: Of hash and tokenise: the environment variable with a secret of 16 characters or more.
        first: Of partial: so many characters at the beginning are kept.
        last: The same at the end; if ends together are more than half of the value, none is kept.
        after: Of partial: what follows the last of these is kept, too, such as `"@"`.

    Example:
        class Person(ps.Contract):
            id: Annotated[str, ps.masked("hash", key=ps.env("MASK_KEY"))] = ps.key()
            email: str = ps.masked("partial", first=1, after="@")
    """
    return Mask(way, key, first, last, after)


def mask_field(field: Field) -> Field:
    """Return the field as it is after masking: its type, its constraints."""
    if field.is_masked:
        return field
    if field.mask is None:
        return replace(field, type=_masked_inside(field.type))
    if field.mask.way == "redact":
        return _redacted(field)
    type_ = _as_text(field.type, _FORMS[field.mask.way])
    own = () if isinstance(type_, ListType) else _FORMS[field.mask.way]
    return replace(field, type=type_, constraints=own, is_masked=True)


def has_masks(type: Type) -> bool:
    """Whether a contract inside of the type has fields to mask."""
    inner = type.inmost
    return isinstance(inner, NestedType) and any(map(is_open, inner.fields))


def is_open(field: Field) -> bool:
    """Whether there is anything to mask in a field."""
    return not field.is_masked and (field.mask is not None or has_masks(field.type))


def keeps_keys(field: Field) -> bool:
    """Whether different values stay different, so that the field can be in a key."""
    return field.mask is None or field.mask.way in _KEYED


def _masked_inside(type: Type) -> Type:
    if not has_masks(type):
        return type
    if isinstance(type, ListType):
        return replace(type, element=_masked_inside(type.element))
    assert isinstance(type, NestedType)  # noqa: S101
    return replace(type, fields=tuple(map(mask_field, type.fields)))


def _as_text(type: Type, form: tuple[Constraint, ...]) -> Type:
    if not isinstance(type, ListType):
        return StrType()
    inner = () if isinstance(type.element, ListType) else form
    return replace(type, element=_as_text(type.element, form), constraints=inner)


def _redacted(field: Field) -> Field:
    if isinstance(field.type, (StrType, UuidType, ChoiceType)):
        return replace(field, type=StrType(), constraints=(OneOf(HIDDEN),), is_masked=True)
    if isinstance(field.type, (BytesType, ListType)):
        return replace(field, constraints=(Length(0, 0),), is_masked=True)
    return replace(field, nullable=True, constraints=(), is_masked=True)


def _wrong_options(mask: Mask) -> str | None:
    if mask.way not in _WAYS:
        return f"is masked by {mask.way!r}; the ways are {', '.join(_WAYS)}"
    if mask.way in _KEYED and not hasattr(mask.key, "resolve"):
        given = "has no key" if mask.key is None else "has a key that is not in the environment"
        return f'is masked by {mask.way}, which {given}: write key=ps.env("MASK_KEY")'
    if mask.way not in _KEYED and mask.key is not None:
        return f"is masked by {mask.way}, which needs no key: remove it"
    ends = (mask.first, mask.last)
    if any(type(end) is not int or end < 0 for end in ends) or not isinstance(mask.after, str):
        return "is masked with ends that are no numbers from 0 on"
    if mask.way == "partial" and not (any(ends) or mask.after):
        return 'is masked by partial, which keeps nothing: write last=4 or after="@", or "redact"'
    if mask.way != "partial" and (any(ends) or mask.after):
        return f"is masked by {mask.way}, but first, last and after are for partial"
    return None


def _wrong_type(mask: Mask, type: Type) -> str | None:
    inner = type.inmost
    if mask.way == "redact":
        return None
    if mask.way == "partial" and not isinstance(inner, StrType):
        return f'is masked by partial, which is for a str, not for {inner.words}; write "redact"'
    if isinstance(inner, NestedType):
        return f"is {inner.words}: mask its fields in {inner.name}, or redact it whole"
    if isinstance(inner, (FloatType, BoolType)):
        return (
            f"is {inner.words}, which has no one text, or too few, to be masked by {mask.way}; "
            'write "redact"'
        )
    return None
