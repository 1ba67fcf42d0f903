"""Makes up strings that match a regular expression, for synthetic rows."""

from __future__ import annotations

import re
import re._constants as code  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from functools import cache
from random import Random
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ANY = LETTERS + "0123456789"
CATEGORIES = {
    code.CATEGORY_DIGIT: "0123456789",
    code.CATEGORY_NOT_DIGIT: LETTERS,
    code.CATEGORY_WORD: ANY,
    code.CATEGORY_NOT_WORD: " -",
    code.CATEGORY_SPACE: " ",
    code.CATEGORY_NOT_SPACE: ANY,
}
MORE = 6
"""How many repetitions beyond the least are tried where there is no upper end."""


def matching(regex: str, random: Random) -> str:
    """Make up a string that (most likely) matches the whole expression."""
    return "".join(_one(op, argument, random) for op, argument in _parsed(regex))


@cache
def _parsed(regex: str) -> list[tuple[Any, Any]]:
    """Parse; an expression that only Rust understands gives none."""
    try:
        return list(parser.parse(regex))
    except re.error:
        return []


def _one(op: Any, argument: Any, random: Random) -> str:
    if op is code.LITERAL:
        return chr(argument)
    if op is code.ANY:
        return random.choice(ANY)
    if op is code.NOT_LITERAL:
        return random.choice(ANY.replace(chr(argument), ""))
    if op is code.IN:
        return random.choice(_members(tuple(argument)))
    if op is code.BRANCH:
        return _all(random.choice(argument[1]), random)
    if op is code.SUBPATTERN:
        return _all(argument[3], random)
    if op in (code.MAX_REPEAT, code.MIN_REPEAT):
        least, most, inner = argument
        times = random.randint(least, min(int(most), least + MORE))
        return "".join(_all(inner, random) for _ in range(times))
    return ""


def _all(parsed: Any, random: Random) -> str:
    return "".join(_one(op, argument, random) for op, argument in parsed)


@cache
def _members(parts: tuple[tuple[Any, Any], ...]) -> str:
    """The characters of a class, those of ASCII where there are many."""
    chosen = ""
    for op, argument in parts:
        if op is code.LITERAL:
            chosen += chr(argument)
        elif op is code.RANGE:
            chosen += "".join(map(chr, range(argument[0], min(argument[1], argument[0] + 99) + 1)))
        elif op is code.CATEGORY:
            chosen += CATEGORIES[argument]
    if parts[0][0] is code.NEGATE:
        return "".join(c for c in ANY if c not in chosen) or "~"
    return chosen
