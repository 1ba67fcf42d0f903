"""Compares ways to decode JSON records into columns: how fast, and which traps each falls into.

Run `python benchmarks/decoders.py [rows]`. Rates are rows per second of processor time, so
that other work on the machine disturbs little. Libraries that are not installed are left out.
"""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.json as pj

import penstock.contract as ps

Decoder = Callable[[list[bytes]], pl.DataFrame]
EMAIL = r"[^@\s]+@[^@\s]+"
ROUNDS = 5


class User(ps.Contract):
    """Twelve fields, about 420 bytes."""

    id: UUID = ps.key()
    first_name: str
    last_name: str
    gender: Literal["female", "male"]
    email: Annotated[str, ps.Pattern(EMAIL)]
    phone: str
    address: str
    postcode: str
    age: Annotated[int, ps.Range(ge=0, lt=150)]
    dob: datetime
    registered: datetime
    nickname: str | None


class Typed(msgspec.Struct):
    """The same, all left to msgspec."""

    id: UUID
    first_name: str
    last_name: str
    gender: Literal["female", "male"]
    email: Annotated[str, msgspec.Meta(pattern=f"^{EMAIL}$")]
    phone: str
    address: str
    postcode: str
    age: Annotated[int, msgspec.Meta(ge=0, lt=150)]
    dob: Annotated[datetime, msgspec.Meta(tz=True)]
    registered: Annotated[datetime, msgspec.Meta(tz=True)]
    nickname: str | None = None


SPEC = ps.spec(User)
LOOSE = {**dict.fromkeys(SPEC.polars, pl.String()), "age": pl.Int64()}
GOOD = {
    "id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    "first_name": "Ana",
    "last_name": "Montgomery",
    "gender": "female",
    "email": "ana@example.com",
    "phone": "+44 20 7946 0000",
    "address": "1 Long Winding Road, Townsville, State of Somewhere",
    "postcode": "AB1",
    "age": 40,
    "dob": "1980-03-04T05:06:07.123Z",
    "registered": "2020-03-04T05:06:07.123456Z",
    "nickname": None,
}


# --- candidates ----------------------------------------------------------------------------------


def penstock(documents: list[bytes]) -> pl.DataFrame:
    rows = ps.decode(SPEC, pl.Series(documents, dtype=pl.Binary)).rows
    return rows.drop("_row", "_index")


def typed_msgspec(documents: list[bytes]) -> pl.DataFrame:
    decode = msgspec.json.Decoder(Typed).decode
    found = []
    for document in documents:
        try:
            found.append(decode(document))
        except (ValueError, RecursionError):
            continue
    columns = {name: [getattr(row, name) for row in found] for name in SPEC.polars}
    columns["id"] = list(map(str, columns["id"]))
    return pl.DataFrame(columns, schema=SPEC.polars)


def stdlib_json(documents: list[bytes]) -> pl.DataFrame:
    found = []
    for document in documents:
        try:
            found.append(json.loads(document))
        except (ValueError, RecursionError):
            continue
    return _parsed(pl.DataFrame(found, schema=LOOSE))


def pydantic_rows(documents: list[bytes]) -> pl.DataFrame:
    import pydantic

    fields: dict[str, Any] = {
        name: (Typed.__annotations__[name], None if name == "nickname" else ...)
        for name in SPEC.polars
    }
    aware, pattern = pydantic.AwareDatetime, pydantic.StringConstraints(pattern=f"^{EMAIL}$")
    fields |= {
        "id": (UUID, ...),
        "email": (Annotated[str, pattern], ...),
        "gender": (Literal["female", "male"], ...),
        "age": (Annotated[int, pydantic.Field(ge=0, lt=150)], ...),
        "nickname": (str | None, None),
        "dob": (aware, ...),
        "registered": (aware, ...),
        **dict.fromkeys(("first_name", "last_name", "phone", "address", "postcode"), (str, ...)),
    }
    model = pydantic.create_model("Model", __config__={"strict": True}, **fields)
    validate = model.__pydantic_validator__.validate_json
    found = []
    for document in documents:
        try:
            found.append(validate(document))
        except ValueError:
            continue
    columns = {name: [getattr(row, name) for row in found] for name in SPEC.polars}
    columns["id"] = list(map(str, columns["id"]))
    return pl.DataFrame(columns, schema=SPEC.polars)


def polars_ndjson(documents: list[bytes]) -> pl.DataFrame:
    return _parsed(pl.read_ndjson(b"\n".join(documents), schema=LOOSE))


def polars_json_decode(documents: list[bytes]) -> pl.DataFrame:
    texts = pl.Series(documents, dtype=pl.Binary).cast(pl.String)
    return _parsed(texts.str.json_decode(pl.Struct(LOOSE)).struct.unnest())


def pyarrow_json(documents: list[bytes]) -> pl.DataFrame:
    schema = pa.schema([(n, pa.int64() if n == "age" else pa.string()) for n in LOOSE])
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    table = pj.read_json(io.BytesIO(b"\n".join(documents)), parse_options=options)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return _parsed(frame)


def _parsed(rows: pl.DataFrame) -> pl.DataFrame:
    """Read datetimes and check constraints, as generously as one does by hand."""
    form = "%Y-%m-%dT%H:%M:%S%.fZ"
    moments = pl.col("dob", "registered").str.to_datetime(
        form, time_unit="us", time_zone="UTC", strict=False
    )
    good = pl.col("email").str.contains(f"^{EMAIL}$") & pl.col("age").is_between(0, 149)
    return rows.filter(good).with_columns(moments)


CANDIDATES: dict[str, Decoder] = {
    "penstock.contract": penstock,
    "msgspec, all types": typed_msgspec,
    "json.loads": stdlib_json,
    "polars read_ndjson": polars_ndjson,
    "polars json_decode": polars_json_decode,
    "pyarrow.json": pyarrow_json,
}
if importlib.util.find_spec("pydantic"):
    CANDIDATES["pydantic, strict"] = pydantic_rows


# --- traps ---------------------------------------------------------------------------------------


def good(**changed: Any) -> bytes:
    return json.dumps(GOOD | changed, separators=(",", ":")).encode()


def raw(name: str, literal: str) -> bytes:
    return good(**{name: "~"}).replace(b'"~"', literal.encode())


DEAD = None
TRAPS: dict[str, tuple[bytes, dict[str, Any] | None]] = {
    "blank": (b"  ", DEAD),
    "two documents": (good() + good(), DEAD),
    "two on two lines": (good() + b"\n" + good(), DEAD),
    "half a document": (good()[:-9], DEAD),
    "newline inside": (good().replace(b',"age"', b',\n"age"'), {"age": 40}),
    "byte order mark": (b"\xef\xbb\xbf" + good(), DEAD),
    "invalid UTF-8": (good(phone="~").replace(b"~", b"\xff"), DEAD),
    "lone surrogate": (raw("phone", r'"\ud800"'), DEAD),
    "NUL": (raw("phone", r'"a\u0000"'), DEAD),
    "name twice": (good()[:-1] + b',"age":7}', DEAD),
    "int beyond 64 bits": (raw("age", "9223372036854775808"), DEAD),
    "1.5 for an int": (raw("age", "1.5"), DEAD),
    "1.0 for an int": (raw("age", "1.0"), DEAD),
    '"7" for an int': (raw("age", '"7"'), DEAD),
    "true for an int": (raw("age", "true"), DEAD),
    "number for a str": (raw("phone", "7"), DEAD),
    "object for a str": (raw("phone", '{"a":1}'), DEAD),
    "100k levels deep": (raw("extra", "[" * 100_000 + "]" * 100_000), DEAD),
    "missing field": (good().replace(b'"phone"', b'"fone"'), DEAD),
    "missing nullable": (good().replace(b'"nickname"', b'"x"'), {"nickname": None}),
    "no zone": (good(dob="1980-03-04T05:06:07"), DEAD),
    "year 0": (good(dob="0000-03-04T05:06:07Z"), DEAD),
    "nanoseconds": (good(dob="1980-03-04T05:06:07.123456789Z"), DEAD),
    "leap second": (good(dob="1980-03-04T05:06:60Z"), DEAD),
    "offset": (
        good(dob="1980-03-04T05:06:07+01:00"),
        {"dob": datetime(1980, 3, 4, 4, 6, 7, tzinfo=UTC)},
    ),
    "newline after an e-mail": (good(email="a@b\n"), DEAD),
}


def verdict(decode: Decoder, trap: str) -> str:
    """Decode the trap between two good records: `ok`, or what went wrong."""
    value, expected = TRAPS[trap]
    try:
        rows = decode([good(age=1), value, good(age=2)]).to_dicts()
    except BaseException as error:  # also the panics of Rust
        return "batch lost" if isinstance(error, Exception) else "panic"
    ages = [row["age"] for row in rows]
    if not ages or ages[0] != 1 or ages[-1] != 2 or len(rows) > 3:
        return "neighbours"
    if expected is None:
        return "ok" if len(rows) == 2 else "accepted"
    if len(rows) == 2:
        return "refused"
    return "ok" if all(rows[1][name] == value for name, value in expected.items()) else "changed"


# --- the tables ----------------------------------------------------------------------------------


def rate(decode: Decoder, documents: list[bytes]) -> float:
    """The best rate of a few rounds, in rows per second of processor time."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        decode(documents)
        best = min(best, time.process_time() - start)
    return len(documents) / best


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    frame = ps.synthetic(SPEC, size, seed=1)
    documents = ps.encode(SPEC, frame).to_list()
    length = sum(map(len, documents)) / size
    print(f"{size} rows of {length:.0f} bytes, thousands of rows per second of processor time")
    for name, decode in CANDIDATES.items():
        same = "same rows" if decode(documents).equals(frame) else "OTHER ROWS"
        print(f"  {name:22} {rate(decode, documents) / 1e3:6.0f}  {same}")
    print("\ntraps, each between two good records (empty: one dead letter or a faithful row)")
    for name, decode in CANDIDATES.items():
        fell = {trap: result for trap in TRAPS if (result := verdict(decode, trap)) != "ok"}
        print(f"  {name:22} {len(fell):2} of {len(TRAPS)}  ", end="")
        print(", ".join(f"{trap}: {result}" for trap, result in fell.items()))


if __name__ == "__main__":
    main()
