"""Contracts that are wrong, each with a word of its complaint behind `WRONG:`."""

from __future__ import annotations

import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import penstock.contract as ps
from penstock.profile import env


class Number(enum.Enum):
    ONE = 1


class Part(ps.Contract):
    field: str


class Inner(ps.Contract):
    at: datetime = ps.born()


class Dictionary(ps.Contract):
    id: int
    field: dict[str, int]  # WRONG: no store holds alike


class Anything(ps.Contract):
    field: Any  # WRONG: no store holds alike


class Union(ps.Contract):
    field: int | str  # WRONG: only `X | None`


class NullableKey(ps.Contract):
    field: int | None = ps.key()  # WRONG: remove `| None`


class FloatKey(ps.Contract):
    field: float = ps.key()  # WRONG: cannot be a key


class ListKey(ps.Contract):
    field: list[int] = ps.key()  # WRONG: cannot be a key


class TwoBorn(ps.Contract):
    other: datetime = ps.born()
    field: datetime = ps.born()  # WRONG: born once


class BornDate(ps.Contract):
    field: date = ps.born()  # WRONG: must be `datetime`


class InnerBorn(ps.Contract):
    field: Inner  # WRONG: only the outermost


class NoDigits(ps.Contract):
    field: Decimal  # WRONG: write Annotated[Decimal, ps.Digits(12, 2)]


class ManyDigits(ps.Contract):
    field: Annotated[Decimal, ps.Digits(39, 2)]  # WRONG: 1 to 38


class BigScale(ps.Contract):
    field: Annotated[Decimal, ps.Digits(3, 4)]  # WRONG: 0 to the precision


class DigitsOfInt(ps.Contract):
    field: Annotated[int, ps.Digits(3, 1)]  # WRONG: for a Decimal


class PatternOfInt(ps.Contract):
    field: Annotated[int, ps.Pattern("1")]  # WRONG: for a str


class BadPattern(ps.Contract):
    field: Annotated[str, ps.Pattern("(")]  # WRONG: no regular expression


class LookAround(ps.Contract):
    field: Annotated[str, ps.Pattern("(?=a)b")]  # WRONG: no look-around


class NotCalled(ps.Contract):
    field: Annotated[str, ps.Pattern]  # WRONG: without its arguments


class RangeOfStr(ps.Contract):
    field: Annotated[str, ps.Range(ge=1)]  # WRONG: for numbers


class NaiveRange(ps.Contract):
    field: Annotated[datetime, ps.Range(ge=datetime(2020, 1, 1))]  # noqa: DTZ001 # WRONG: compared


class NoRange(ps.Contract):
    field: Annotated[int, ps.Range()]  # WRONG: needs a bound


class EmptyRange(ps.Contract):
    field: Annotated[int, ps.Range(ge=0, le=-1)]  # WRONG: no value is


class LengthOfInt(ps.Contract):
    field: Annotated[int, ps.Length(1)]  # WRONG: for str


class NoLength(ps.Contract):
    field: Annotated[str, ps.Length(3, 2)]  # WRONG: no value has


class OneOfOther(ps.Contract):
    field: Annotated[int, ps.OneOf("a")]  # WRONG: is not an int


class CheckFails(ps.Contract):
    field: Annotated[int, ps.Check(lambda v: v.str.len_chars() > 1, "is long")]  # WRONG: fails on


class CheckOfInt(ps.Contract):
    field: Annotated[int, ps.Check(lambda v: v + 1, "is more")]  # WRONG: not Boolean


class NumberChoice(ps.Contract):
    field: Literal[1, 2]  # WRONG: ps.OneOf(1, 2)


class NumberEnum(ps.Contract):
    field: Number  # WRONG: choices are strings


class Default(ps.Contract):
    field: int = 7  # WRONG: no defaults


class Hidden(ps.Contract):
    _field: int  # WRONG: Penstock's own


class SameName(ps.Contract):
    other: int
    field: Annotated[int, ps.Name("other")]  # WRONG: which other has too


class QuotedName(ps.Contract):
    field: Annotated[int, ps.Name('"')]  # WRONG: no quotes


class Unknown(ps.Contract):  # WRONG: cannot be read
    field: Nonsense  # type: ignore[name-defined]  # noqa: F821


class Empty(ps.Contract):  # WRONG: has no fields
    pass


class Myself(ps.Contract):
    field: list[Myself]  # WRONG: contains Myself itself


class UnknownMask(ps.Contract):
    field: str = ps.masked("scramble")  # type: ignore[arg-type]  # WRONG: the ways are


class KeylessHash(ps.Contract):
    field: str = ps.masked("hash")  # WRONG: write key=ps.env("MASK_KEY")


class WrittenKey(ps.Contract):
    field: str = ps.masked("hash", key="secret")  # type: ignore[arg-type]  # WRONG: in the environment


class KeyedRedact(ps.Contract):
    field: str = ps.masked("redact", key=env("K"))  # WRONG: needs no key


class NoEnds(ps.Contract):
    field: str = ps.masked("partial")  # WRONG: keeps nothing


class EndedHash(ps.Contract):
    field: str = ps.masked("hash", key=env("K"), last=4)  # WRONG: are for partial


class NegativeEnd(ps.Contract):
    field: str = ps.masked("partial", last=-1)  # WRONG: no numbers from 0 on


class PartialInt(ps.Contract):
    field: int = ps.masked("partial", last=1)  # WRONG: which is for a str


class HashedFloat(ps.Contract):
    field: float = ps.masked("hash", key=env("K"))  # WRONG: which has no one text


class HashedContract(ps.Contract):
    field: Part = ps.masked("hash", key=env("K"))  # WRONG: mask its fields


class RedactedKey(ps.Contract):
    field: Annotated[str, ps.masked("redact")] = ps.key()  # WRONG: makes different keys equal


class MaskedBorn(ps.Contract):
    field: Annotated[datetime, ps.masked("redact")] = ps.born()  # WRONG: nobody may hide


class TwoMasks(ps.Contract):
    field: Annotated[str, ps.masked("redact")] = ps.masked("redact")  # WRONG: has two masks


class MaskedElements(ps.Contract):
    field: list[Annotated[str, ps.masked("redact")]]  # WRONG: put it on the field


WRONG = [
    value
    for value in list(globals().values())
    if isinstance(value, type)
    and value.__module__ == __name__
    and value not in (Number, Part, Inner)
]
