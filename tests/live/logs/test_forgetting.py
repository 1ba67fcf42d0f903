"""What retention takes from a landing is gone from the database, and not before it may go."""

from __future__ import annotations

import time

import psycopg
from tests.live.masking import marks
from tests.live.masking.marks import MARKER

from penstock.interfaces import Response
from penstock.logs import retention
from penstock.logs.postgresql import open_landing
from penstock.pipeline import Retention


def test_a_person_is_gone_with_the_landings_age(database: str) -> None:
    landing = open_landing(database, "users", "raw", Retention(age="1s"))
    try:
        landing.cursor()
        landing.append([Response(f'{{"name": "{MARKER}"}}'.encode(), None)])
    finally:
        landing.close()
    for _ in range(4):  # a lane has still to read it: however old, it stays
        time.sleep(0.5)
        assert retention.tidy(database, "landing", "raw", {0: 0}).records == 0
    assert marks.holds_marker(database, "landing.raw")
    deadline = time.monotonic() + 60
    while marks.holds_marker(database, "landing.raw"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        retention.tidy(database, "landing", "raw", {0: 1})
    marks.assert_clean_database(database, ())
    with psycopg.connect(database) as session:
        assert session.execute("SELECT * FROM landing.raw_json").fetchall() == []
