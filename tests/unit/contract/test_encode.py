from __future__ import annotations

import json
import string
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.contract as ps

from .everything import Everything

SPEC = ps.spec(Everything)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
UUIDS = st.uuids().map(str)
MOMENTS = st.datetimes(timezones=st.just(UTC))
LOGINS = st.fixed_dictionaries(
    {"uuid": UUIDS, "note": st.none() | TEXT, "when": st.none() | MOMENTS}
)
ROWS = st.fixed_dictionaries(
    {
        "id": UUIDS,
        "name": TEXT,
        "gender": st.sampled_from(["female", "male"]),
        "color": st.sampled_from([None, "red", "blue"]),
        "age": st.none() | st.integers(-(2**63), 2**63 - 1),
        "price": st.integers(-(10**12) + 1, 10**12 - 1).map(lambda n: Decimal(n) / 100),
        "ok": st.booleans(),
        "ratio": st.floats(allow_nan=False, allow_infinity=False),
        "day": st.dates(),
        "at": MOMENTS,
        "postcode": TEXT | st.text(string.digits + "+-eE.", max_size=9),
        "blob": st.none() | st.binary(max_size=20),
        "tags": st.lists(TEXT, max_size=3),
        "logins": st.none() | st.lists(st.none() | LOGINS, max_size=3),
        "login": st.none() | LOGINS,
        "class_": TEXT,
        "date_added": MOMENTS,
    }
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ROWS, max_size=5))
def test_what_is_encoded_decodes_to_the_same(rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, schema=SPEC.polars, orient="row")
    assert ps.validate(SPEC, frame) == []
    encoded = ps.encode(SPEC, frame)
    decoded = ps.decode(SPEC, encoded)
    assert decoded.failures == []
    assert decoded.rows.drop("_row", "_index").equals(frame)
    signs = decoded.rows.select(pl.col("ratio").reinterpret(signed=False))
    assert signs.equals(frame.select(pl.col("ratio").reinterpret(signed=False)))
    assert all(b"\n" not in value for value in encoded)


def test_the_form_of_each_type() -> None:
    row = {
        "id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
        "name": 'é"\\\n\x01',
        "gender": "male",
        "color": None,
        "age": -(2**63),
        "price": Decimal("1.5"),
        "ok": False,
        "ratio": 1e300,
        "day": date(1, 1, 1),
        "at": datetime(1, 1, 1, tzinfo=UTC),
        "postcode": "007",
        "blob": b"\xff",
        "tags": [],
        "logins": [None],
        "login": None,
        "class_": "x",
        "date_added": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        "_order": 7,
    }
    frame = pl.DataFrame([row], schema={**SPEC.polars, "_order": pl.Int64}, orient="row")
    assert json.loads(ps.encode(SPEC, frame)[0]) == {
        "id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
        "name": 'é"\\\n\x01',
        "gender": "male",
        "color": None,
        "age": -(2**63),
        "price": "1.50",
        "ok": False,
        "ratio": 1e300,
        "day": "0001-01-01",
        "at": "0001-01-01T00:00:00.000000Z",
        "postcode": "007",
        "blob": "/w==",
        "tags": [],
        "logins": [None],
        "login": None,
        "class": "x",
        "date_added": "9999-12-31T23:59:59.999999Z",
    }
