from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.sources.postgresql import literals

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def written(value: Any) -> str:
    """An array as array_out writes it, every element in quotes."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "{" + ",".join(map(written, value)) + "}"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(WORDS)
def test_a_text_is_a_string(value: str) -> None:
    made = literals.text(value.encode())
    assert json.loads(made) == value
    assert b"\n" not in made


@given(st.binary())
def test_bytes_that_are_no_text_stay(value: bytes) -> None:
    made = literals.text(value)
    assert b"\n" not in made
    undone = json.loads(made.decode(errors="surrogateescape"))
    assert undone.encode(errors="surrogateescape") == value


@given(st.recursive(st.lists(st.none() | WORDS), lambda inner: st.lists(inner, min_size=1)))
def test_an_array_is_a_list(value: list[Any]) -> None:
    made = literals.array(literals.text)(written(value).encode())
    assert json.loads(made) == value


@pytest.mark.parametrize(
    ("literal", "value", "made"),
    [
        (literals.boolean, b"t", b"true"),
        (literals.boolean, b"f", b"false"),
        (literals.number, b"-1.50", b"-1.50"),
        (literals.number, b"1e+20", b"1e+20"),
        (literals.number, b"NaN", b'"NaN"'),
        (literals.number, b"-Infinity", b'"-Infinity"'),
        (literals.binary, b"\\x00ff", b'"AP8="'),
        (literals.binary, b"\\x", b'""'),
        (literals.document, b'{"a":\n 1}', b'{"a":  1}'),
        (literals.instant, b"2026-11-20 18:30:00.5+00", b'"2026-11-20T18:30:00.5Z"'),
        (literals.instant, b"infinity", b'"infinity"'),
        (literals.instant, b"10000-01-01 00:00:00+00", b'"10000-01-01 00:00:00+00"'),
        (literals.instant, b"0044-03-15 12:00:00+00 BC", b'"0044-03-15 12:00:00+00 BC"'),
        (literals.moment, b"2026-11-20 18:30:00", b'"2026-11-20T18:30:00"'),
        (literals.moment, b"-infinity", b'"-infinity"'),
        (literals.moment, b"0044-03-15 12:00:00 BC", b'"0044-03-15 12:00:00 BC"'),
        (literals.array(literals.integer), b"[0:1]={1,NULL}", b"[1,null]"),
        (literals.array(literals.integer), b"{}", b"[]"),
        (literals.array(literals.text), b"{{a,b},{c,NULL}}", b'[["a","b"],["c",null]]'),
        (literals.array(literals.text), b'{"NULL",NULL}', b'["NULL",null]'),
        (literals.array(literals.text, ";"), b"{(1,1),(0,0);(2,2),(1,1)}", None),
    ],
)
def test_values_keep_what_they_say(
    literal: literals.Literal, value: bytes, made: bytes | None
) -> None:
    if made is None:
        made = b'["(1,1),(0,0)","(2,2),(1,1)"]'
    assert literal(value) == made
