"""The records that every benchmark moves: 12 fields, about 420 bytes of JSON, the same for all."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

COLUMNS = (
    "id",
    "first_name",
    "last_name",
    "gender",
    "address",
    "post_code",
    "email",
    "username",
    "dob",
    "registered_date",
    "phone",
    "picture",
)

TABLE_COLUMNS = """
    uid uuid NOT NULL, first_name text NOT NULL, last_name text NOT NULL, gender text NOT NULL,
    address text NOT NULL, post_code text NOT NULL, email text NOT NULL, username text NOT NULL,
    dob timestamptz NOT NULL, registered_date timestamptz NOT NULL, phone text NOT NULL,
    picture text NOT NULL
"""
"""What a peer's table holds; `id` is named `uid` because one peer cannot hold a column `id`."""

_FIRST = ("Aada", "Brigitte", "Cem", "Dubravka", "Élise", "Finn", "Greta", "Håkon", "İpek", "Jo")
_LAST = ("Alvarez", "Bjørnstad", "Ceylan", "Dubois", "Ekström", "Fernández", "Gül", "Hämäläinen")
_STREETS = ("Rue du Moulin", "Hauptstraße", "Calle de Alcalá", "Mill Lane", "Kirkegata")
_CITIES = ("Lyon", "Bielefeld", "Zaragoza", "Tromsø", "Kuopio", "Christchurch")


def records(count: int, seed: int = 0, key: str = "id") -> Iterator[dict[str, str]]:
    """Yield seeded records; the UUID is random, as a real API's are."""
    rng = random.Random(seed)
    start = datetime(1950, 1, 1, tzinfo=UTC)
    for number in range(count):
        first, last = rng.choice(_FIRST), rng.choice(_LAST)
        born = start + timedelta(seconds=rng.randrange(1_700_000_000))
        since = start + timedelta(seconds=rng.randrange(1_700_000_000, 2_300_000_000))
        yield {
            key: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "first_name": first,
            "last_name": last,
            "gender": rng.choice(("female", "male")),
            "address": f"{rng.randrange(1, 9999)} {rng.choice(_STREETS)}, {rng.choice(_CITIES)}",
            "post_code": str(rng.randrange(1000, 99999)),
            "email": f"{first}.{last}.{number}@example.com".lower(),
            "username": f"{rng.choice(('big', 'small', 'sad'))}panda{number}",
            "dob": born.isoformat().replace("+00:00", "Z"),
            "registered_date": since.isoformat().replace("+00:00", "Z"),
            "phone": f"0{rng.randrange(10**9, 10**10)}",
            "picture": f"https://example.com/api/portraits/thumb/{rng.randrange(99)}.jpg?size=48&v=2",
        }


def write_ndjson(path: Path, count: int, seed: int = 0, key: str = "id") -> None:
    """Write `count` records to a file, one JSON document on each line."""
    with path.open("w", encoding="utf-8") as file:
        for record in records(count, seed, key):
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
