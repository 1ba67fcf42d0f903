"""Decoding agrees with an independent reference, and no value alters its neighbours."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.contract as ps
from penstock.contract import exact, fast
from penstock.interfaces import Framing

from .everything import GOOD, Everything, document
from .reference import everything

pytestmark = pytest.mark.usefixtures("each_way")

SPEC = ps.spec(Everything)

ODD = [
    *GOOD.values(),
    'null', 'true', 'false', '0', '-0', '1.0', '1.5', '-1e3', '1E400', '-1e-400', 'NaN',
    'Infinity', '9223372036854775807', '9223372036854775808', '-9223372036854775809',
    '9007199254740992', '9007199254740993', '123456789012345678901234567890', '007', '+1', '.5',
    '1.', '"7"', '""', '"1.005"', '"1e3"', '"12345678901.5"', '0.10', '1.230', '-0.00', '" 1"',
    '"\\u0031"', '"a\\nb"', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"\xe9\\"\U0001f600"',
    '"1B4E28BA-2FA1-11D2-883F-0016D3CCA427"', '"{1b4e28ba-2fa1-11d2-883f-0016d3cca427}"',
    '"1b4e28ba2fa111d2883f0016d3cca427"', '"0000-01-01"', '"0001-01-01"', '"9999-12-31"',
    '"10000-01-01"', '"2026-02-29"', '"2024-02-29"', '"2026-1-1"', '"2026-11-20T18:30:00"',
    '"2026-11-20t18:30:00z"', '"2026-11-20 18:30:00Z"', '"2026-11-20T18:30:60Z"',
    '"2026-11-20T24:00:00Z"', '"2026-11-20T18:30:00.123456Z"', '"2026-11-20T18:30:00.1234567Z"',
    '"2026-11-20T18:30:00.1234560Z"', '"2026-11-20T18:30:00+24:00"',
    '"2026-11-20T18:30:00-23:59"', '"2026-11-20T18:30:00+05:60"', '"2026-11-20T18:30Z"',
    '"0001-01-01T00:30:00+01:00"', '"9999-12-31T23:30:00-01:00"', '"0001-01-01T00:00:00Z"',
    '"9999-12-31T23:59:59.999999Z"', '"YR=="', '"YQ"', '"YQ==\\n"', '"_-8="', '[]', '{}',
    '[null]', '[["a"]]', '["a",1]', '[{"uuid":"1b4e28ba-2fa1-11d2-883f-0016d3cca427"}]',
    '[{"uuid":1}]', '{"uuid":null}',
    '{"uuid":"1b4e28ba-2fa1-11d2-883f-0016d3cca427","uuid":"1b4e28ba-2fa1-11d2-883f-0016d3cca427"}',
    '{"uuid":"1b4e28ba-2fa1-11d2-883f-0016d3cca427","x":{"x":1,"x":2},"note":"\\u00e9"}',
    '[{"uuid":"1b4e28ba-2fa1-11d2-883f-0016d3cca427","note":"a","note":"a"}]',
    '{"uuid":"1b4e28ba-2fa1-11d2-883f-0016d3cca427","when":"2026-11-20T18:30:00Z"}',
    '"' + "x" * 300 + '"', "[" * 99 + "]" * 99, "[" * 100 + "]" * 100, "[" * 3000 + "]" * 3000,
    '"[[[[' + "[" * 100 + '"', '1 ', ' 1', '\t1\n', '1,', '1}', '1,"x":2', '"a":1',
]  # fmt: skip
NAMES = [*GOOD, "extra", "uuid", "note", "\\u0069d", "na\\u006de", "Id", "id ", ":", ",", ""]
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t\r\n", "\x0b", "\u00a0", "\ufeff"])


def literals() -> list[bytes]:
    """Every odd literal in every field, also in those of a nested contract, and beside it."""
    found = [document(**{name: odd}) for name in GOOD for odd in ODD]
    found += [document(**{name: None}) for name in GOOD]
    found += [document(date_added="null", ratio=odd) for odd in ODD]
    uuid = f'"uuid":{GOOD["id"]}'
    for odd in ODD:
        for name in ("uuid", "note", "when", "x"):
            inner = f'{{{uuid},"{name}":{odd}}}' if name != "uuid" else f'{{"uuid":{odd}}}'
            found += [document(login=inner), document(logins=f"[{inner},null]")]
    for name in [*GOOD, "extra", "\\u0061ge", "\\u0065xtra"]:
        found += [document()[:-1] + f',"{name}"{space}:{GOOD.get(name, 1)}}}'.encode()
                  for space in ("", " ", "\n")]  # fmt: skip
    return found


def test_every_odd_literal_is_judged_as_the_reference_does() -> None:
    values = literals()
    decoded = ps.decode(SPEC, pl.Series(values, dtype=pl.Binary))
    rows, failed = rows_of(decoded), {f.row: f.cause for f in decoded.failures}
    for at, value in enumerate(values):
        expected = everything(value)
        assert rows.get(at) == expected, (value, failed.get(at))
        assert (at in failed) == (expected is None), value
    assert len(rows) > 500
    assert len(failed) > 1000


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Documents that are nearly those of `Everything`."""
    pairs = [*GOOD.items()]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(pairs) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                pairs[at] = (pairs[at][0], draw(st.sampled_from(ODD)))
            case 1:
                pairs.insert(at, (draw(st.sampled_from(NAMES)), draw(st.sampled_from(ODD))))
            case 2:
                pairs.pop(at)
            case _:
                pairs.insert(at, pairs.pop())
    gap = draw(SPACE)
    body = ("{" + ",".join(f'{gap}"{n}"{gap}:{v}' for n, v in pairs) + gap + "}").encode()
    return draw(mutations(body))


@st.composite
def mutations(draw: st.DrawFn, body: bytes) -> bytes:
    """Now and then cut, change, double or insert bytes."""
    kind = draw(st.integers(0, 11))
    at = draw(st.integers(0, len(body)))
    if kind == 0:
        return body[:at]
    if kind == 1:
        return body[:at] + draw(st.binary(max_size=3)) + body[at + 1 :]
    if kind == 2:
        return (
            body[:at]
            + draw(st.sampled_from([b'"', b"\\", b",", b"{", b"}", b":", b"\n"]))
            + body[at:]
        )
    return (
        body + draw(st.sampled_from([b"", b"", b" ", b"{}", b"\n", b"\0"])) if kind == 3 else body
    )


def rows_of(decoded: ps.Decoded) -> dict[int, dict[str, Any]]:
    renamed = decoded.rows.rename({"class_": "class"})
    return {row.pop("_row"): row for row in renamed.drop("_index").to_dicts()}


@settings(max_examples=400, deadline=None)
@given(st.lists(documents() | st.binary(max_size=30), max_size=6))
def test_decoding_agrees_with_the_reference(values: list[bytes]) -> None:
    decoded = ps.decode(SPEC, pl.Series(values, dtype=pl.Binary))
    expected = {n: row for n, value in enumerate(values) if (row := everything(value))}
    assert rows_of(decoded) == expected
    assert [f.row for f in decoded.failures] == [n for n in range(len(values)) if n not in expected]


@settings(max_examples=200, deadline=None)
@given(st.lists(documents(), max_size=4))
def test_what_the_fast_way_does_not_doubt_is_exact(values: list[bytes]) -> None:
    table = fast.read(SPEC, values)
    hard = {*table.refused, *table.doubtful}
    for row in table.rows.to_dicts():
        at = row.pop("_at")
        assert at in hard or row == exact.decode(values[at], SPEC.fields)


def body_of(values: list[bytes]) -> bytes:
    return b'{"meta":{"n":1},"data":{"records":[' + b",".join(values) + b"]}}"


RECORDS = Framing(path=("data", "records"), many=True)


def is_json(value: bytes) -> bool:
    try:
        json.loads(value.decode(errors="replace"))
    except (ValueError, RecursionError):  # too deep for a test to know
        return False
    return True


@settings(max_examples=200, deadline=None)
@given(st.lists(documents(), max_size=5))
def test_elements_are_judged_one_by_one(values: list[bytes]) -> None:
    elements = [v for v in values if is_json(v) and b"NaN" not in v and b"Infinity" not in v]
    elements = [v for v in elements if not v.startswith(b"\xef\xbb\xbf")]
    body = pl.Series([body_of(elements), body_of([document()])], dtype=pl.Binary)
    decoded = ps.decode(SPEC, body, RECORDS)
    expected = {n: row for n, value in enumerate(elements) if (row := everything(value))}
    rows = decoded.rows.filter(pl.col("_row") == 0).rename({"class_": "class"}).drop("_row")
    assert {row.pop("_index"): row for row in rows.to_dicts()} == expected
    assert [f.index for f in decoded.failures] == [
        n for n in range(len(elements)) if n not in expected
    ]
    assert decoded.rows["_row"].to_list().count(1) == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(documents() | st.binary(max_size=20), max_size=5))
def test_lines_are_judged_one_by_one(values: list[bytes]) -> None:
    lines = [value.replace(b"\n", b" ") for value in values]
    body = pl.Series([b"".join(line + b"\n" for line in lines)], dtype=pl.Binary)
    decoded = ps.decode(SPEC, body, Framing(lines=True))
    expected = {n for n, line in enumerate(lines) if everything(line)}
    assert set(decoded.rows["_index"]) == expected
    assert {f.index for f in decoded.failures} == set(range(len(lines))) - expected


@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_bytes_leave_the_neighbours_alone(noise: bytes, at: int) -> None:
    values = [document(age=str(n)) for n in range(3)]
    values.insert(at, noise)
    decoded = ps.decode(SPEC, pl.Series(values, dtype=pl.Binary))
    assert decoded.rows["age"].to_list() == [0, 1, 2]
    assert [f.row for f in decoded.failures] == [at]
