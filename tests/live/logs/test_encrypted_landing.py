from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from tests.live.masking import marks
from tests.live.masking.marks import MARKER

import penstock as ps
from penstock.errors import ProfileError, Refused
from penstock.interfaces import Response
from penstock.logs.landing import LandingLog
from penstock.logs.postgresql import open_landing
from penstock.records import Limits

MANY = Limits(records=100, bytes=1 << 30)
OLD, NEW = ps.env("TESTS_OLD_KEY"), ps.env("TESTS_NEW_KEY")

Opener = Callable[..., LandingLog]


@pytest.fixture
def opened(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    monkeypatch.setenv("TESTS_OLD_KEY", "an old key of a landing")
    monkeypatch.setenv("TESTS_NEW_KEY", "a new key of a landing")
    logs = []

    def opener(*keys: ps.pipeline.EnvVar, name: str = "raw") -> LandingLog:
        logs.append(open_landing(database, "users", name))
        logs[-1].encrypt(keys)
        return logs[-1]

    yield opener
    for log in logs:
        log.close()


def response(number: int) -> Response:
    body = f'{{"number": {number}, "secret": "{MARKER}"}}'.encode()
    return Response(body, {"after": f"{MARKER}{number}"}, {"from": MARKER}, cut_off=number == 2)


def land(log: LandingLog, *numbers: int, run_id: str | None = None) -> None:
    log.cursor(run_id)
    log.append([response(n) for n in numbers], run_id)


def test_nothing_of_a_response_is_in_the_clear(opened: Opener, database: str) -> None:
    land(opened(), 0)
    assert marks.holds_marker(database, "landing.raw")
    plain = opened(name="plain")
    land(plain, 1)
    expected = plain.read({0: 0}, MANY).records.select("value", "headers")
    log = opened(OLD, name="sealed")
    land(log, 1)
    land(log, 2, 3, run_id="monday")
    assert marks.assert_clean_database(
        database, ["raw", "plain", "log_1_0_0", "log_2_0_0", "landing_cursors"]
    )
    with psycopg.connect(database) as session:
        assert session.execute("SELECT * FROM landing.sealed_json").fetchall() == []
        cursors = session.execute(
            "SELECT cursor FROM penstock.landing_cursors JOIN penstock.logs USING (id)"
            " WHERE name = 'sealed'"
        ).fetchall()
    assert len(cursors) == 2
    for (cursor,) in cursors:
        marks.assert_clean("cursor", cursor.encode())
    read = opened(OLD, name="sealed").read({0: 0}, MANY).records
    assert read["value"].to_list() == [response(n).body for n in (1, 2, 3)]
    assert read.select("value", "headers").head(1).equals(expected)
    assert b"cut-off" in read["headers"][1]
    assert opened(OLD, name="sealed").cursor() == {"after": f"{MARKER}3"}


def test_keys_are_rotated(opened: Opener) -> None:
    land(opened(), 0)
    land(opened(OLD), 1)
    assert opened(NEW, OLD).cursor() == {"after": f"{MARKER}1"}
    land(opened(NEW, OLD), 2)
    both = opened(NEW, OLD).read({0: 0}, MANY).records
    assert both["value"].to_list() == [response(n).body for n in range(3)]
    assert opened(NEW).read({0: 2}, MANY).records["value"].to_list() == [response(2).body]
    assert opened(NEW).cursor() == {"after": f"{MARKER}2"}
    with pytest.raises(Refused, match="behind the newer ones"):
        opened(NEW).read({0: 0}, MANY)


def test_a_wrong_or_missing_key_says_what_to_do(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(opened(OLD), 1)
    for keys, words in (((), "without encrypt="), ((NEW,), "TESTS_NEW_KEY")):
        with pytest.raises(Refused, match=words):
            opened(*keys).read({0: 0}, MANY)
        with pytest.raises(Refused, match=words):
            opened(*keys).cursor()
    monkeypatch.delenv("TESTS_OLD_KEY")
    with pytest.raises(ProfileError, match="TESTS_OLD_KEY is not set"):
        opened(OLD)
    monkeypatch.setenv("TESTS_OLD_KEY", "short")
    with pytest.raises(ProfileError, match="at least 16"):
        opened(OLD)


@pytest.mark.parametrize("change", ["set_byte(value, 30, 255 - get_byte(value, 30))", "'\\x00'"])
def test_what_was_changed_is_refused(opened: Opener, database: str, change: str) -> None:
    land(opened(OLD), 1)
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(f"UPDATE landing.raw SET value = {change}")
    with pytest.raises(Refused):
        opened(OLD).read({0: 0}, MANY)


def test_what_one_landing_sealed_opens_in_no_other(opened: Opener, database: str) -> None:
    land(opened(OLD), 1)
    land(opened(OLD, name="other"), 2)
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(
            "UPDATE landing.other o SET value = r.value, headers = r.headers FROM landing.raw r"
        )
    with pytest.raises(Refused, match="from another landing"):
        opened(OLD, name="other").read({0: 0}, MANY)
