"""What a user writes: a `Contract` class, its fields' types and marks.

A contract is a declaration and is never instantiated. `penstock.contract.spec` reads it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar


class Contract:
    r"""What records of a stream look like: one class declares decoding, tables and checks.

    Each annotation is a field. Types: `str`, `Text`, `int`, `float`, `bool`, `date`, `datetime`,
    `UUID`, `bytes`, `Literal` and `Enum` of strings, `list[...]`, another contract,
    `Annotated[Decimal, Digits(12, 2)]`, and any of them `| None`. Constraints go into
    `Annotated`. In JSON, fields that the contract does not name are ignored.

    Example:
        class User(ps.Contract):
            id: UUID = ps.key()
            email: Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+")]
            nickname: str | None
            date_added: datetime = ps.born()
    """

    __penstock_where__: ClassVar[tuple[str, int]] = ("", 0)

    def __init_subclass__(cls) -> None:
        """Remember where the class stands, for messages."""
        frame = sys._getframe(1)
        cls.__penstock_where__ = (frame.f_code.co_filename, frame.f_lineno)

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is a contract: it declares, it is not instantiated")


@dataclass(frozen=True)
class Mark:
    """What stands on the right of a field: that it is in the key, or when it was born."""

    kind: str


def key() -> Any:
    """Mark a field as (part of) the key; rows with equal keys are versions of one thing."""
    return Mark("key")


def born() -> Any:
    """Mark the datetime that tells when the record was first seen.

    JSON may lack it; then it is filled from the log record, not from a clock.
    """
    return Mark("born")


@dataclass(frozen=True)
class Name:
    """Another name in JSON than in Python: `class_: Annotated[str, ps.Name("class")]`."""

    name: str


@dataclass(frozen=True)
class Digits:
    """The size of a Decimal: `price: Annotated[Decimal, ps.Digits(12, 2)]` has 10 + 2 digits.

    Args:
        precision: All digits, 1 to 38.
        scale: Those after the point, 0 to `precision`.
    """

    precision: int
    scale: int


@dataclass(frozen=True)
class TextMark:
    """Tells `Text` from a plain str."""


Text = Annotated[str, TextMark()]
"""A str that may come as a JSON number; the number's literal is kept: `007`, `1.50`, `1e3`."""
