"""Pipelines whose topics hold Avro or JSON Schema, with a registry that works or does not."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import fastavro
import httpx
import polars as pl
import pytest
from tests.live.engine.conftest import Background, Given
from tests.live.registry.conftest import Registered, causes
from tests.live.registry.fake import FakeRegistry, serving
from tests.stack.servers import Servers

import penstock as ps
from penstock import pipeline as programs
from penstock import plan, testing
from penstock.cli import previews
from penstock.engines.status import State
from penstock.engines.trial import Trials
from penstock.errors import ContractError, Refused
from penstock.home import deadletters, replays
from penstock.home.database import Home
from penstock.profile import AVRO, JSON, JSON_SCHEMA
from penstock.serdes import formats

Begin = Callable[..., Background]


class Person(ps.Contract):
    name: str
    age: int


class User(ps.Contract):
    name: str = ps.key()
    age: int
    seen: datetime = ps.born()


class UserWithMail(ps.Contract):
    name: str = ps.key()
    age: int
    mail: str | None
    seen: datetime = ps.born()


class Strict(ps.Contract):
    name: str = ps.key()
    age: int
    mail: str


def people(count: int) -> list[dict[str, Any]]:
    return [{"name": f"p{n}", "age": n} for n in range(count)]


def program(source: Given, topic: str, contract: type[ps.Contract] = User) -> ps.Pipeline:
    pipeline = ps.Pipeline("people")

    def to_user(rows: Any) -> Any:
        given = rows.select("name", "age")
        return given.with_columns(mail=None) if contract is UserWithMail else given

    users = pipeline.source(source, Person, land="raw").map(to_user, contract)
    users.topic(topic).sink("users", store="one")
    return pipeline


def reading(topic: str, contract: type[ps.Contract] = Person) -> ps.Pipeline:
    pipeline = ps.Pipeline("reading")
    pipeline.topic(topic, contract).sink("people", store="one", mode="append")
    return pipeline


def schema(*fields: tuple[str, Any], **more: Any) -> dict[str, Any]:
    written = [{"name": name, "type": kind, **more.get(name, {})} for name, kind in fields]
    return {"type": "record", "name": "Person", "namespace": "com.example", "fields": written}


PERSON = schema(("name", "string"), ("age", "long"))


def message(number: int, written: dict[str, Any], record: dict[str, Any]) -> bytes:
    """Write a message as any producer of Confluent's does."""
    value = io.BytesIO()
    fastavro.schemaless_writer(value, fastavro.parse_schema(written), record)
    return b"\0" + number.to_bytes(4, "big") + value.getvalue()


def register(url: str, subject: str, written: dict[str, Any], kind: str = "AVRO") -> int:
    body = {"schema": json.dumps(written), "schemaType": kind}
    answer = httpx.post(f"{url}/subjects/{subject}/versions", json=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["id"])


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@pytest.fixture
def topic() -> str:
    return f"users_{uuid4().hex[:8]}"


# --- what we write -------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", [AVRO, JSON_SCHEMA])
def test_a_pipeline_writes_and_reads_its_topic_by_the_registry(
    place: Registered, topic: str, format_: str
) -> None:
    place.format = format_
    pipeline = program(Given.records(*people(1000)), topic)
    place.run(pipeline)
    assert place.rows("SELECT count(*), sum(age) FROM one.users") == [(1000, 499500)]
    report = place.reconcile(pipeline)
    assert report.differences == ()
    values = place.values(topic)
    number = int.from_bytes(values[0][1:5], "big")
    found = httpx.get(f"{place.registry}/schemas/ids/{number}").json()
    assert {value[:5] for value in values} == {b"\0" + number.to_bytes(4, "big")}
    if format_ == AVRO:
        parsed = fastavro.parse_schema(json.loads(found["schema"]))
        read: list[Any] = [
            fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed, None) for value in values
        ]
    else:
        assert found["schemaType"] == "JSON"
        read = [json.loads(value[5:]) for value in values]
    assert sorted(record["age"] for record in read) == list(range(1000))


@pytest.mark.parametrize("format_", [AVRO, JSON_SCHEMA])
def test_a_compatible_change_is_registered_and_old_records_are_read(
    place: Registered, topic: str, format_: str
) -> None:
    place.format = format_
    source = Given.records(*people(10))
    place.run(program(source, topic))
    source.bodies += Given.records({"name": "late", "age": 1}).bodies
    place.run(program(source, topic, UserWithMail))
    assert place.rows("SELECT count(*) FROM one.users") == [(11,)]
    assert len({value[:5] for value in place.values(topic)}) == 2
    assert place.reconcile(program(source, topic, UserWithMail)).differences == ()
    config = httpx.get(f"{place.registry}/config/{topic}-value").json()
    assert config == {"compatibilityLevel": "BACKWARD"}  # and the registry's own is NONE


def test_a_start_is_refused_that_the_registry_refuses(place: Registered, topic: str) -> None:
    written = schema(("name", "string"))
    register(place.registry, f"{topic}-value", written)
    level = {"compatibility": "BACKWARD"}
    httpx.put(f"{place.registry}/config/{topic}-value", json=level).raise_for_status()
    with pytest.raises(ContractError, match="age: the field is missing, in records of version 1"):
        place.run(program(Given.records(*people(3)), topic))
    assert place.rows("SELECT to_regclass('penstock.contracts')") == [(None,)]


# --- what others write ---------------------------------------------------------------------------


def test_a_topic_of_a_foreign_producer_is_read(place: Registered, topic: str) -> None:
    number = register(place.registry, f"{topic}-value", PERSON)
    place.produce(topic, [message(number, PERSON, person) for person in people(400)])
    place.run(reading(topic))
    assert place.rows("SELECT count(*), sum(age) FROM one.people") == [(400, 79800)]
    assert place.reconcile(reading(topic)).differences == ()


def test_what_cannot_be_read_is_dead_and_hides_nothing(
    faked: Registered, fake: FakeRegistry
) -> None:
    good = fake.add(json.dumps(PERSON))
    text = schema(("name", "string"), ("age", "string"))
    wrong = fake.add(json.dumps(text))
    protobuf = fake.add('syntax = "proto3";', "PROTOBUF")
    broken = fake.add("{")
    ada = message(good, PERSON, {"name": "ada", "age": 1})
    bad = [
        b"",
        b'{"name": "ada", "age": 1}',
        b"\0\0\0",
        b"\0\0\0\0\x63" + ada[5:],
        message(wrong, text, {"name": "ada", "age": "1"}),
        b"\0\0\0\0" + bytes([protobuf]) + ada[5:],
        b"\0\0\0\0" + bytes([broken]) + ada[5:],
        ada + b"\0",
        ada[:-1],
        ada[:5] + b"\x06ad\xff\x02",
        ada[:5] + b"\x06ad\0\x02",
        ada[:5] + b"\xff" * 9 + b"\1" + ada[6:],
    ]
    faked.produce("people", [value for one in bad for value in (one, ada)])
    pipeline = reading("people")
    faked.run(pipeline)
    assert faked.rows("SELECT count(*) FROM one.people") == [(len(bad),)]
    assert faked.reconcile(pipeline).differences == ()
    assert [(field, rule) for field, rule, _ in causes(faked, pipeline)] == [
        ("", "empty"),
        ("", "does not begin with a 0 and the id of a schema"),
        ("", "ends in its head"),
        ("", "a schema that the registry does not know"),
        ("age", "expected an int, got a str"),
        ("", "expected a schema of AVRO, got one of PROTOBUF"),
        ("", "a schema that cannot be read"),
        ("", "something follows the document"),
        ("age", "ends in the middle of a record"),
        ("name", "not valid UTF-8"),
        ("name", "NUL in a str"),
        ("name", "a length below 0"),
    ]


def test_json_described_by_a_schema_is_read_strictly(faked: Registered, fake: FakeRegistry) -> None:
    faked.format = JSON_SCHEMA
    number = fake.add("{}", "JSON")
    head = b"\0" + number.to_bytes(4, "big")
    values = [head + b'{"name": "ada", "age": 1}', head + b'{"name": "ada", "age": "1"}', b"{}"]
    faked.produce("people", values)
    faked.run(reading("people"))
    assert faked.rows("SELECT name, age FROM one.people") == [("ada", 1)]
    rules = [rule for _, rule, _ in causes(faked, reading("people"))]
    assert rules == [
        "expected an int, got a str",
        "does not begin with a 0 and the id of a schema",
    ]


def test_one_topic_may_differ_from_the_others(faked: Registered, fake: FakeRegistry) -> None:
    faked.formats = {"people": JSON}
    faked.produce("people", [b'{"name": "ada", "age": 1}'])
    faked.run(reading("people"))
    assert faked.rows("SELECT name, age FROM one.people") == [("ada", 1)]
    assert fake.asked == []


def test_schemas_that_evolve_while_it_runs_are_followed_or_buried(
    faked: Registered, fake: FakeRegistry, background: Begin
) -> None:
    first = fake.add(json.dumps(PERSON))
    faked.produce("people", [message(first, PERSON, {"name": "first", "age": 1})])
    pipeline = reading("people")
    running = background(faked.engine(pipeline))

    def seen(count: int) -> Callable[[], bool]:
        return lambda: (
            faked.rows("SELECT to_regclass('one.people')") != [(None,)]
            and (faked.rows("SELECT count(*) FROM one.people") == [(count,)])
        )

    eventually(seen(1))
    wider = schema(("mail", ["null", "string"]), ("years", "int"), ("name", "string"))
    wider["fields"][1]["aliases"] = ["age"]
    record = {"mail": "a@b", "years": 2, "name": "second"}
    narrow = schema(("name", "string"))
    values = [
        message(fake.add(json.dumps(wider)), wider, record),
        message(fake.add(json.dumps(narrow)), narrow, {"name": "third"}),
        message(first, PERSON, {"name": "fourth", "age": 4}),
    ]
    faked.produce("people", values)
    eventually(seen(3))
    running.stop()
    assert faked.rows("SELECT name, age FROM one.people ORDER BY age") == [
        ("first", 1),
        ("second", 2),
        ("fourth", 4),
    ]
    assert causes(faked, pipeline) == [("age", "the field is missing", "")]
    assert faked.reconcile(pipeline).differences == ()


def test_a_schema_that_is_registered_late_mends_its_letters(
    faked: Registered, fake: FakeRegistry
) -> None:
    faked.produce("people", [message(1, PERSON, {"name": "ada", "age": 1})])
    pipeline = reading("people")
    faked.run(pipeline)
    assert causes(faked, pipeline) == [("", "a schema that the registry does not know", "1")]
    fake.add(json.dumps(PERSON))
    with Home(faked.url, name="test") as home, home.transaction() as cursor:
        assert replays.replay(cursor, deadletters.Selection("reading"), by="test").letters == 1
    faked.run(pipeline)
    assert faked.rows("SELECT name, age FROM one.people") == [("ada", 1)]


# --- a registry that is away ---------------------------------------------------------------------


def test_a_registry_that_is_away_is_waited_for_and_nothing_is_lost(
    database: str, background: Begin
) -> None:
    with ExitStack() as stack:
        fake = stack.enter_context(serving(FakeRegistry()))
        number = fake.add(json.dumps(PERSON))
        place = Registered(database, registry=fake.url)
        place.produce("people", [message(number, PERSON, person) for person in people(100)])
        stack.close()
        pipeline = reading("people")
        running = background(place.engine(pipeline))

        def says_so() -> bool:
            lanes = running.engine.board.snapshot().lanes
            return any(
                lane.state is State.WAITING and "does not answer" in lane.reason for lane in lanes
            )

        eventually(says_so)
        stack.enter_context(serving(fake))
        eventually(
            lambda: (
                place.rows("SELECT to_regclass('one.people')") != [(None,)]
                and place.rows("SELECT count(*) FROM one.people") == [(100,)]
            )
        )
        running.stop()
        assert causes(place, pipeline) == []
        assert place.reconcile(pipeline).differences == ()


@pytest.mark.parametrize(
    "fault", [(500, b"{}"), (502, b"<html>bad gateway</html>"), (200, b"garbage"), (429, b"")]
)
def test_a_registry_that_fails_a_while_is_asked_again(
    faked: Registered, fake: FakeRegistry, fault: tuple[int, bytes]
) -> None:
    fake.fault, fake.faults = fault, 5
    pipeline = program(Given.records(*people(20)), "users")
    faked.run(pipeline)
    assert faked.rows("SELECT count(*) FROM one.users") == [(20,)]
    assert faked.reconcile(pipeline).differences == ()


def test_a_wrong_password_is_refused_with_the_cure(faked: Registered, fake: FakeRegistry) -> None:
    fake.login = "penstock:right"
    faked.registry = fake.url.replace("right", "wr0ng")
    with pytest.raises(Refused, match="right user and password") as caught:
        faked.run(program(Given.records(*people(3)), "users"))
    assert "wr0ng" not in str(caught.value)
    faked.registry = fake.url
    faked.run(program(Given.records(*people(3)), "users"))
    assert faked.rows("SELECT count(*) FROM one.users") == [(3,)]


def test_a_path_without_a_registry_is_refused_with_the_cure(
    faked: Registered, fake: FakeRegistry
) -> None:
    fake.fault = (404, b"<html>nothing here</html>")
    with pytest.raises(Refused, match=r"/apis/ccompat/v7"):
        faked.run(program(Given.records(*people(3)), "users"))


def test_a_registry_that_is_killed_comes_back(
    database: str, own_servers: Servers, background: Begin
) -> None:
    server = own_servers.start("registry")
    place = Registered(database, registry=server.url)
    source = Given.records(*people(50))
    pipeline = program(source, "users")
    running = background(place.engine(pipeline))
    eventually(
        lambda: (
            place.rows("SELECT to_regclass('one.users')") != [(None,)]
            and place.rows("SELECT count(*) FROM one.users") == [(50,)]
        )
    )
    running.stop()
    server.kill()
    source.bodies += Given.records({"name": "late", "age": 1}).bodies
    running = background(place.engine(pipeline))
    eventually(
        lambda: any(lane.state is State.WAITING for lane in running.engine.board.snapshot().lanes)
    )
    server.up()
    # The registry's database is in memory: what was written before has lost its schema's id.
    eventually(lambda: place.rows("SELECT count(*) FROM one.users") == [(51,)])
    running.stop()
    assert place.reconcile(pipeline).differences == ()


# --- beside the engine ---------------------------------------------------------------------------

KILLER = """
import os
import penstock as ps

class Person(ps.Contract):
    name: str
    age: int

def spare(rows):
    if "killer" in rows["name"]:
        os._exit(9)
    return rows

pipeline = ps.Pipeline("reading")
people = pipeline.topic("people", Person).map(spare, Person)
people.sink("people", store="one", mode="append")
"""


def test_a_preview_asks_the_registry(faked: Registered, fake: FakeRegistry) -> None:
    faked.produce("people", [message(1, PERSON, {"name": "ada", "age": 1})])
    pipeline = reading("people")
    faked.run(pipeline)
    fake.add(json.dumps(PERSON))
    with Home(faked.url, name="test") as home, home.transaction() as cursor:
        batches = replays.preview(cursor, deadletters.Selection("reading"), most=10)
    segments = plan.compile(pipeline, formats.codecs(faked.profile()))
    [shown] = previews.run(segments, batches)
    assert shown.rows["people@one"].select("name", "age").rows() == [("ada", 1)]
    assert not shown.failing


def test_records_that_kill_are_found_by_what_the_codec_has_learnt(
    tmp_path: Path, fake: FakeRegistry
) -> None:
    program = tmp_path / "program.py"
    program.write_text(KILLER)
    number = fake.add(json.dumps(PERSON))
    values = [message(number, PERSON, {"name": n, "age": 1}) for n in ("ada", "killer", "eve")]
    log = testing.MemoryLog("people", 1)
    log.append(pl.DataFrame({"value": pl.Series(values, dtype=pl.Binary)}))
    read = log.reread(log.spans())
    profile = Registered("", registry=fake.url).profile()
    [segment] = plan.compile(programs.load(program), formats.codecs(profile))
    segment.codec.prepare(read.records)
    fake.fault = (500, b"")
    micro = plan.MicroBatch(read.spans, read.records.with_columns(order=pl.col("offset")))
    assert Trials(program, segment, micro).guilty() == [1]
