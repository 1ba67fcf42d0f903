"""An input in which everything is that a record can be, good and bad, for programs/features.py."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from penstock.serdes.partitioner import partition_of

NAMES = ["ada", "raise", "old", "bob", "😀", "a'b\"c\\", " ", "null", "é" * 300]
PLACE = {"city": "Oslo", "since": None, "codes": [1, None, -(2**63)]}
PARTITIONS = 3

BAD: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "not JSON": b"<html>",
    "not UTF-8": b'{"id": "\xff"}',
    "a zero byte": b"\0",
    "a magic byte alone": b"\0\0\0\0\1",
    "an unknown schema": b"\0\x7f\xff\xff\xffrest",
    "two documents": b"{}{}",
    "half": b'{"id": "1b4e28ba-2fa1-11d2-883f-0016d3cca4',
    "null": b"null",
    "a list": b"[]",
    "a number": b"1e400",
    "deep": b"[" * 100_000,
}
"""Values that are no document of the contract, whatever the format."""

WRONG: list[dict[str, str]] = [
    {"name": '"a\\u0000b"'},
    {"name": '"\\ud800"'},
    {"name": "7"},
    {"gender": '"other"'},
    {"colour": '"green"'},
    {"age": "-1"},
    {"age": "9223372036854775808"},
    {"age": "1.5"},
    {"age": "1" + "0" * 400},
    {"price": '"1e-20"'},
    {"price": "1" + "0" * 30},
    {"ratio": "NaN"},
    {"ratio": "9007199254740993"},
    {"day": '"2026-02-30"'},
    {"at": '"2026-01-01T00:00:00"'},
    {"at": '"2026-01-01T00:00:00.1234567Z"'},
    {"blob": '"?"'},
    {"tags": '["a", "\\ud800"]'},
    {"tags": "null"},
    {"places": '[{"city": "Oslo"}]'},
    {"home": "[]"},
    {"id": '"no UUID"'},
    {"class": "null"},
    {"name": '"a", "name": "b"'},
]
"""Members of a thing that are wrong, as JSON."""

GOOD: list[dict[str, str]] = [
    {"age": "null", "colour": "null", "places": "null", "home": "null", "blob": "null"},
    {"postcode": "7.50"},
    {"price": '"-99999999999999999999999999999.999999999"'},
    {"ratio": "5e-324"},
    {"ratio": "-0.0"},
    {"day": '"0001-01-01"', "at": '"9999-12-31T23:59:59.999999Z"'},
    {"at": '"2026-01-01T02:00:00+02:00"'},
    {"tags": "[]"},
    {"tags": '["", "\\\\", "\\"", "a,b", "{}", "null", "😀"]'},
    {"more": '{"a": [1]}'},
]
"""Members at the bounds of what fits."""


def thing(random: Random, number: int, **changed: str) -> bytes:
    """A document of the contract, with some members changed, as JSON."""
    good: dict[str, Any] = {
        "id": str(uuid.UUID(int=random.getrandbits(128))),
        "name": f"{NAMES[number % len(NAMES)]}" if number % 3 == 0 else f"name {number % 50}",
        "gender": random.choice(["female", "male"]),
        "colour": random.choice(["red", "blue", None]),
        "age": random.randrange(100),
        "price": f"{random.randrange(10**12)}.{random.randrange(10**9):09}",
        "ok": random.choice([True, False]),
        "ratio": random.random() * 10 ** random.randrange(-300, 300),
        "day": f"20{random.randrange(10, 99)}-01-{random.randrange(1, 28):02}",
        "at": f"2026-01-01T00:00:{random.randrange(60):02}.{random.randrange(10**6):06}Z",
        "postcode": f"{random.randrange(10**6):06}",
        "blob": base64.b64encode(random.randbytes(random.randrange(20))).decode(),
        "tags": [f"t{n}" for n in range(random.randrange(4))],
        "places": [None, PLACE] if number % 2 else [],
        "home": PLACE if number % 5 else None,
        "class": "x",
    }
    members = {name: json.dumps(value) for name, value in good.items()} | changed
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}").encode()


def write(file: Path, *, rows: bool, count: int = 400) -> Path:
    """Write the input.

    Args:
        file: Where.
        rows: Whether good things are rows, to be written in the format of their topic.
        count: Of good things.
    """
    with file.open("w") as out:
        for log, partitions in (("things", PARTITIONS), ("clicks", 2), ("raw_clicks", 1)):
            out.write(json.dumps({"log": log, "partitions": partitions}) + "\n")
        for record in [*_things(count, rows), *_clicks(count, rows), *_landed(count)]:
            out.write(json.dumps(record) + "\n")
    return file


def _things(count: int, rows: bool) -> Iterator[dict[str, Any]]:
    random = Random(1)
    keys: list[str] = []
    for number in range(count):
        document = thing(
            random, number, **(GOOD[number // 7 % len(GOOD)] if not number % 7 else {})
        )
        if number % 9 == 8:  # an update of an earlier one
            given = json.loads(document)
            document = json.dumps(given | {"id": random.choice(keys)}).encode()
        keys.append(json.loads(document)["id"])
        place = partition_of(pl.Series([keys[-1].encode()]), PARTITIONS)[0]
        # What is keyed by these names has an order: each comes from one partition.
        document = document.replace(b'"name ', b'"name %d-' % place)
        name = "row" if rows else "value"
        headers = [["trace", _b64(b"\xff\0")], ["none", None]] if number % 11 == 0 else None
        yield _record("things", keys[-1], {name: document.decode()}, headers=headers)
        if number % 20 == 3:
            yield _record("things", random.choice(keys), {})  # a delete
        if number % 25 == 4:
            yield _record("things", None, {name: document.decode()}, partition=number % PARTITIONS)
        if number % 40 == 5:
            yield _record("things", "no UUID", {})  # a delete of what cannot be
            yield _record("things", None, {}, partition=0)
    for number, value in enumerate(BAD.values()):
        yield _record("things", f"bad {number}", {"value_base64": _b64(value)})
    for number, changed in enumerate(WRONG):
        document = thing(random, number, **changed)
        yield _record("things", f"wrong {number}", {"value_base64": _b64(document)})


def _clicks(count: int, rows: bool) -> Iterator[dict[str, Any]]:
    for number in range(count):
        document = json.dumps(
            {"number": number, "page": f"/{number % 40}", "items": _items(number)}
        )
        yield _record("clicks", None, {"row" if rows else "value": document}, partition=number % 2)
        if number % 30 == 0:
            yield _record("clicks", None, {}, partition=1)
        if number % 50 == 0:
            yield _record("clicks", None, {"value": "{"}, partition=0)


def _landed(count: int) -> Iterator[dict[str, Any]]:
    """Responses of several lines each, some of them cut off or empty."""
    lines: list[bytes] = []
    for number in range(count):
        click = {"number": number % 60, "page": f"/{number % 40}", "items": _items(number)}
        lines.append(json.dumps(click).encode())
        if number % 17 == 0:
            lines += [b"", b"{", BAD["not UTF-8"], b"[]", json.dumps(click).encode() + b"{}"]
        if number % 25 == 24:
            yield {"log": "raw_clicks", "value_base64": _b64(b"\n".join(lines) + b"\n")}
            lines = []
    yield {"log": "raw_clicks", "value": ""}
    cut = [["cut-off", _b64(b"true")]]
    yield {"log": "raw_clicks", "value": '{"number": 1, "pa', "headers": cut}


def _items(number: int) -> list[int]:
    return list(range(number % 4))


def _record(log: str, key: str | None, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = {"log": log, **value, **{name: one for name, one in more.items() if one is not None}}
    return found if key is None else {**found, "key": key}


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()
