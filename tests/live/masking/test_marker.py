"""A marker in masked fields, good ones and bad ones of each kind, is nowhere but in the landing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from tests.live.masking import marks
from tests.live.masking.marks import MARKER, SECRET
from tests.live.project import Project

from penstock.logs.postgresql import open_topic

pytestmark = pytest.mark.timeout(600)

PROGRAM = """
from pathlib import Path
from typing import Annotated
import polars as pl
import penstock as ps
from penstock.interfaces import Framing, Response

KEY = ps.env("MASK_KEY")


class Given:
    every = None
    framing = Framing(path=("results",), many=True)

    def describe(self):
        return "files"

    def check(self):
        pass

    def poll(self, cursor, clock):
        for path in sorted(Path("in").iterdir()):
            if path.name > (cursor or ""):
                yield Response(path.read_bytes(), path.name)


class Address(ps.Contract):
    street: str = ps.masked("redact")
    city: str


class Person(ps.Contract):
    id: Annotated[str, ps.masked("hash", key=KEY)] = ps.key()
    email: Annotated[str, ps.Pattern(r"[^@\\s]+@[^@\\s]+")] = ps.masked("hash", key=KEY)
    card: str | None = ps.masked("partial", last=2)
    ssn: str = ps.masked("tokenise", key=KEY)
    phones: list[str] = ps.masked("hash", key=KEY)
    address: Address
    age: Annotated[int, ps.Range(ge=0)]
    note: str


class User(ps.Contract):
    id: str = ps.key()
    email: str
    street: str
    age: int
    note: str


def to_user(people: pl.DataFrame) -> pl.DataFrame:
    if (people["note"] == "map").any():
        raise ValueError(f"cannot map {people.to_dicts()}")
    street = pl.col("address").struct["street"]
    return people.select("id", "email", "age", "note", street=street)


pipeline = ps.Pipeline("p")
people = pipeline.source(Given(), Person, land="raw_people")
kept = people.topic("people")
kept.sink("people", store="one")
kept.map(to_user, User).topic("users").sink("users", store="one", mode="upsert")
kept.sink("log", store="two", mode="append")
outside = pipeline.topic("outside", Person)
outside.sink("outside", store="two")
"""


def person(number: int, **changes: object) -> dict[str, object]:
    return {
        "id": f"{MARKER}-{number}",
        "email": f"{MARKER}{number}@example.com",
        "card": f"1234{MARKER}12",
        "ssn": MARKER,
        "phones": [MARKER, f"{MARKER}2"],
        "address": {"street": MARKER, "city": "Paris"},
        "age": 36,
        "note": "good",
        **changes,
    }


DELETING = """
pipeline = ps.Pipeline("p")
outside = pipeline.topic("outside", Person)
outside.sink("people", store="one")
"""
ENCRYPTED = """
sealed = pipeline.source(Given(), Person, land="sealed", encrypt=ps.env("LANDING_KEY"))
sealed.sink("sealed", store="two")
"""
KEYED = {"key": pl.Binary, "value": pl.Binary}

BAD: list[object] = [
    person(10, email=MARKER),  # a constraint
    person(11, email=[MARKER]),  # types
    person(12, email={"of": MARKER}),
    person(13, ssn=5, phones=[{"a": MARKER}]),
    person(14, address=MARKER),
    person(15, address={"street": [MARKER], "city": "Paris"}),
    person(16, address={"city": "Paris"}),
    person(17, age=-1),  # another field is to blame
    person(18, age={"of": MARKER}),
    person(19, id=None),
    {MARKER: MARKER, "emial": MARKER},
    MARKER,
    [MARKER],
    person(20, note="map"),  # the map raises, and quotes all that it sees
    person(21, note="store"),  # the store rejects the row, and quotes it
    person(22, note="a\0b"),
]
LINES: list[bytes] = [
    json.dumps(person(30)).encode(),
    f'{{"id": "{MARKER}"'.encode(),
    f'"{MARKER}" x'.encode(),
    MARKER.encode(),
    b"\xff" + MARKER.encode(),
    json.dumps(person(31)).encode("utf-16"),
    json.dumps(person(32)).encode()[:-1] + f', "ssn": "{MARKER}"}}'.encode(),
    b"[" * 200 + MARKER.encode() + b"]" * 200,
    json.dumps(person(33, age=-1)).encode(),
    b"",
]


def hashed(text: str) -> str:
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


@pytest.fixture
def given(project: Project) -> Project:
    """A project that has run on good records, and on all of the bad ones."""
    project.patience = 280
    project.environment |= {"MASK_KEY": SECRET, "LANDING_KEY": f"{SECRET} either"}
    project.write(program(project))
    land(project.path, "0", json.dumps({"results": [person(0)]}))
    project.produce("outside", LINES)
    marks.said(project, "run", "program.py", "--until-idle", both=False)
    rejects(project.url)
    land(project.path, "1", json.dumps({"from": MARKER, "results": [person(1), person(2), *BAD]}))
    land(project.path, "2", f'{{"results": [{MARKER}')
    land(project.path, "3", json.dumps({"results": {"of": MARKER}}))
    land(project.path, "4", json.dumps({"other": MARKER}))
    marks.said(project, "run", "program.py", "--until-idle", both=False)
    return project


def program(project: Project) -> str:
    """The program; where topics are in PostgreSQL, its landing is encrypted."""
    if project.log:
        return PROGRAM
    return PROGRAM.replace('land="raw_people"', 'land="raw_people", encrypt=ps.env("LANDING_KEY")')


def land(folder: Path, name: str, text: str) -> None:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / f"{name}.json").write_text(text)


def rejects(url: str) -> None:
    """Let the store reject a row, and quote all of it."""
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("""
            CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.note = 'store' THEN
                    RAISE EXCEPTION 'no row like %', NEW USING ERRCODE = 'check_violation';
                END IF;
                RETURN NEW;
            END $$""")
        session.execute(
            "CREATE TRIGGER no BEFORE INSERT ON one.people"
            " FOR EACH ROW EXECUTE FUNCTION public.no()"
        )


def raw_tables(project: Project) -> list[str]:
    """The tables of the landing that is in the clear, and of the topic that others write."""
    logs = []
    if project.log:
        logs = project.rows("SELECT id, name FROM penstock.logs WHERE pipeline IS NOT NULL")
    logs += project.rows("SELECT id, name FROM penstock.logs WHERE name = 'outside'")
    return [name for number, name in logs for name in (f"log_{number}_0_0", name)]


def look_everywhere(project: Project) -> None:
    assert marks.assert_clean_database(project.url, raw_tables(project)) > 20
    assert marks.assert_clean_folder(project.path, ("in",)) >= 2
    if project.log:
        for topic in ("people", "users"):
            assert marks.assert_clean_topic(project.log, project.prefix + topic) > 3


def ask_everything(project: Project) -> None:
    for words in (
        ("status",),
        ("check", "program.py"),
        ("deadletters", "list"),
        ("deadletters", "show", "--limit", "1000"),
        ("deadletters", "preview", "program.py"),
    ):
        assert marks.said(project, *words)
    assert marks.said(project, "reconcile", "program.py", "--deep", both=False)
    marks.said(project, "deadletters", "show", "--raw", both=False)


@pytest.mark.parametrize("project", ["postgresql, postgresql", "kafka, postgresql"], indirect=True)
def test_the_marker_is_in_the_landing_alone(given: Project) -> None:
    assert marks.holds_marker(given.url, "landing.raw_people") == bool(given.log)
    look_everywhere(given)
    if not given.log:  # the commands are the same
        ask_everything(given)
    letters = given.letters()
    causes = {(letter["stage"], letter["field"]) for letter in letters}
    assert {("contract", "email"), ("decode", ""), ("decode", "address"), ("map", "")} <= causes
    assert len(letters) >= 25
    emails = {email for (email,) in given.table("one", "people", "email")}
    assert hashed(f"{MARKER}1@example.com") in emails
    show_what_is_not_masked(letters)
    send_back(given)
    look_everywhere(given)
    given.balance()


def show_what_is_not_masked(letters: Sequence[Mapping[str, Any]]) -> None:
    [letter] = [one for one in letters if one["rule"] == ">= 0" and one["index"] == 9]
    assert json.loads(base64.b64decode(letter["record_base64"])) == {
        "id": "masked",
        "email": "masked",
        "card": "masked",
        "ssn": "masked",
        "phones": "masked",
        "address": {"street": "masked", "city": "Paris"},
        "age": -1,
        "note": "good",
    }
    assert letter["value"] == "-1"


def send_back(given: Project) -> None:
    """Letters of masked records are read anew, and pass when what was wrong is mended."""
    given.rows("DROP TRIGGER no ON one.people")
    mended = program(given).replace("Range(ge=0)", "Range(ge=-1)").replace('== "map"', '== "no"')
    given.write(mended)
    marks.said(given, "deadletters", "preview", "program.py", both=False)
    marks.said(given, "deadletters", "replay", both=False)
    marks.said(given, "run", "program.py", "--until-idle", both=False)
    ages = dict(given.table("one", "people", "email, age"))
    assert ages[hashed(f"{MARKER}17@example.com")] == -1
    assert hashed(f"{MARKER}21@example.com") in ages
    assert hashed("masked") not in ages
    users = {email for (email,) in given.table("one", "users", "email")}
    assert hashed(f"{MARKER}20@example.com") in users
    outside = dict(given.table("two", "outside", "email, age"))
    assert outside[hashed(f"{MARKER}33@example.com")] == -1


def test_what_the_landing_has_lost_is_refused_with_the_reason(given: Project) -> None:
    before = given.table("one", "people", "email")
    given.rows(
        "UPDATE penstock.log_heads SET start = next WHERE id ="
        " (SELECT id FROM penstock.logs WHERE name = 'raw_people')"
    )
    given.rows("DELETE FROM landing.raw_people")
    given.write(program(given).replace("Range(ge=0)", "Range(ge=-1)"))
    marks.said(given, "deadletters", "replay", "segment=raw_people", both=False)
    marks.said(given, "run", "program.py", "--until-idle", both=False)
    left = [one for one in given.letters() if one["segment"] == "raw_people"]
    assert len(left) >= 15
    assert all("no longer holds the record" in one["rule"] for one in left)
    assert given.table("one", "people", "email") == before
    given.penstock("reconcile", "program.py")


def test_a_changed_key_stops_the_start(project: Project) -> None:
    project.environment["MASK_KEY"] = SECRET
    project.write(PROGRAM.split("pipeline = ")[0] + DELETING)
    project.produce("outside", LINES[:1])
    project.run()
    project.environment["MASK_KEY"] = "another key that came by mistake"
    for words in (("run", "program.py", "--until-idle"), ("check", "program.py")):
        ran = project.penstock(*words, code=1)
        assert b'key=ps.env("MASK_KEY_2")' in ran.stdout + ran.stderr
    del project.environment["MASK_KEY"]
    for words in (("run", "program.py", "--until-idle"), ("check", "program.py")):
        ran = project.penstock(*words, code=1)
        assert b"MASK_KEY is not set" in ran.stdout + ran.stderr
    project.environment["MASK_KEY"] = SECRET
    project.write(PROGRAM.split("pipeline = ")[0] + DELETING + ENCRYPTED)
    ran = project.penstock("run", "program.py", "--until-idle", code=1)
    assert b"LANDING_KEY is not set" in ran.stdout + ran.stderr


def test_deletes_by_a_masked_key_find_their_rows(project: Project) -> None:
    project.environment["MASK_KEY"] = SECRET
    project.write(PROGRAM.split("pipeline = ")[0] + DELETING)
    with closing(open_topic(project.url, "outside", 1)) as log:
        rows = [(f"{MARKER}-{n}", person(n)) for n in (1, 2)]
        values = [(key.encode(), json.dumps(value).encode()) for key, value in rows]
        keyed = [*values, (f"{MARKER}-1".encode(), None), (None, None), (b"\xff", None)]
        log.append(pl.DataFrame(keyed, schema=KEYED, orient="row"))
    marks.said(project, "run", "program.py", "--until-idle", both=False)
    assert project.table("one", "people", "id") == [(hashed(f"{MARKER}-2"),)]
    look_everywhere(project)
    assert {one["value"] for one in project.letters()} == {"masked"}
