"""The registry's client: on a real registry, and on one that answers badly."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from uuid import uuid4

import httpx
import polars as pl
import pytest
import trustme
from tests.live.registry.fake import FakeRegistry, serving

import penstock as ps
from penstock.contract import spec
from penstock.errors import ContractError, PenstockError, ProfileError, Refused, Unavailable
from penstock.serdes import formats
from penstock.serdes.avro.parse import parse
from penstock.serdes.registered import AvroForm, RegisteredCodec
from penstock.serdes.registry import Registry

ONE = '{"type":"record","name":"r","fields":[{"name":"a","type":"long"}]}'
TWO = '{"type":"record","name":"r","fields":[{"name":"b","type":"string"}]}'

JSON = '{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{}}'


class Row(ps.Contract):
    a: int


@pytest.fixture
def subject() -> str:
    return f"s {uuid4().hex[:8]}/value"


def test_a_schema_is_registered_once_and_found(registry: str, subject: str) -> None:
    client = Registry(registry)
    assert client.latest(subject) is None
    assert client.known(subject, "AVRO", ONE) is None
    number = client.register(subject, "AVRO", ONE)
    assert client.register(subject, "AVRO", ONE) == number
    assert client.known(subject, "AVRO", ONE) == number
    found = client.schema(number)
    assert found is not None
    assert (found.kind, json.loads(found.text)) == ("AVRO", json.loads(ONE))
    latest = client.latest(subject)
    assert latest is not None
    assert (latest.id, latest.version) == (number, 1)
    assert client.schema(2**31 - 1) is None


def test_a_json_schema_keeps_its_kind(registry: str, subject: str) -> None:
    client = Registry(registry)
    number = client.register(subject, "JSON", JSON)
    found = client.schema(number)
    assert found is not None
    assert found.kind == "JSON"


def test_what_is_incompatible_is_not_taken(registry: str, subject: str) -> None:
    client = Registry(registry)
    client.register(subject, "AVRO", ONE)
    quoted = subject.replace(" ", "%20").replace("/", "%2F")
    level = {"compatibility": "BACKWARD"}
    httpx.put(f"{registry}/config/{quoted}", json=level).raise_for_status()
    assert client.level(subject) == "BACKWARD"
    assert client.breaks(subject, "AVRO", TWO) is not None
    assert client.breaks(subject, "AVRO", ONE) is None
    with pytest.raises(ContractError):
        client.register(subject, "AVRO", TWO)


@pytest.mark.parametrize(
    ("option", "level"),
    [("", "BACKWARD"), ("?compatibility=FULL", "FULL"), ("?compatibility=NONE", "NONE")],
)
def test_a_subject_that_is_begun_gets_a_level(
    registry: str, subject: str, option: str, level: str
) -> None:
    client = Registry(registry + option)
    client.begin(subject)
    client.register(subject, "AVRO", ONE)
    assert client.level(subject) == level
    assert client.first_level(subject) is None


def test_a_level_that_somebody_set_is_left(registry: str, subject: str) -> None:
    quoted = subject.replace(" ", "%20").replace("/", "%2F")
    level = {"compatibility": "NONE"}
    httpx.put(f"{registry}/config/{quoted}", json=level).raise_for_status()
    client = Registry(registry + "?compatibility=FULL")
    client.begin(subject)
    assert client.level(subject) == "NONE"


def test_a_level_that_there_is_not() -> None:
    with pytest.raises(ProfileError, match="compatibility=backwards; there are NONE, BACKWARD"):
        Registry("http://localhost/?compatibility=backwards")


def test_schemas_that_name_others_are_read_with_them(fake: FakeRegistry) -> None:
    inner = '{"type":"fixed","name":"x.Inner","size":2}'
    fake.subjects["inner"] = [fake.add(inner)]
    fake._subject = lambda *_: (200, {**fake.schemas[1], "id": 1})  # type: ignore[method-assign]
    outer = (
        '{"type":"record","name":"r","fields":'
        '[{"name":"i","type":"x.Inner"},{"name":"a","type":"long"}]}'
    )
    references = [{"name": "x.Inner", "subject": "inner", "version": 1}]
    number = fake.add(outer, references=references)
    found = Registry(fake.url).schema(number)
    assert found is not None
    assert found.references == (inner,)
    parse(found.text, found.references)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ((500, b"oops"), Unavailable, "answers 500: oops"),
        ((503, b'{"message": "later"}'), Unavailable, "answers 503: later"),
        ((429, b""), Unavailable, "answers 429: nothing more"),
        ((200, b"<html>"), Unavailable, "answers 200: <html>"),
        ((200, b"[1]"), Unavailable, "which is no answer"),
        ((200, b"{}"), Unavailable, "without a schema"),
        ((401, b"no"), Refused, "right user and password"),
        ((403, b"no"), Refused, "right user and password"),
        ((404, b"no"), Refused, "/apis/ccompat/v7"),
        ((301, b""), Refused, "answers 301"),
    ],
)
def test_bad_answers_say_what_to_do(
    fake: FakeRegistry, fault: tuple[int, bytes], kind: type[PenstockError], words: str
) -> None:
    fake.fault = fault
    with pytest.raises(kind) as caught:
        Registry(fake.url).schema(1)
    assert words in str(caught.value)
    assert len(fake.asked) == 1


def test_a_login_is_sent_and_never_said(fake: FakeRegistry) -> None:
    fake.login = "penstock:s3cr%t@"
    number = fake.add(ONE)
    quoted = f"http://penstock:s3cr%25t%40@127.0.0.1:{fake.port}{fake.path}"
    client = Registry(quoted)
    assert client.schema(number) is not None
    fake.fault = (500, b"you sent http://penstock:s3cr%t@here")
    with pytest.raises(Unavailable) as caught:
        client.schema(number)
    assert "s3cr" not in str(caught.value) + repr(vars(client)["place"])


def test_nobody_there_is_away() -> None:
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:9/x does not answer"):
        Registry("http://user:secret@127.0.0.1:9/x").schema(1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("registry:8081", "is no URL of one"),
        ("http://", "is no URL of one"),
        ("http://host/?sure=yes", "no option 'sure'; it has ca, cert, key"),
        ("https://host/?ca=/nowhere.pem", "cannot be read"),
    ],
)
def test_a_wrong_url_is_an_error_of_the_profile(url: str, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        Registry(url)


def test_a_certificate_must_be_signed_by_who_the_profile_names(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    for name, one in (("right", authority), ("wrong", stranger)):
        one.cert_pem.write_to_path(str(tmp_path / name))
    with serving(FakeRegistry(), context) as fake:
        number = fake.add(ONE)
        url = fake.url.replace("http:", "https:")
        assert Registry(f"{url}?ca={tmp_path / 'right'}").schema(number) is not None
        for wrong in (url, f"{url}?ca={tmp_path / 'wrong'}"):
            with pytest.raises(Unavailable, match=r"as https://…\?ca=FILE"):
                Registry(wrong).schema(number)


# --- what a codec learns -------------------------------------------------------------------------


def records(*values: bytes | None) -> pl.DataFrame:
    return pl.DataFrame({"value": pl.Series(values, dtype=pl.Binary)})


def test_a_codec_asks_once_for_each_schema(fake: FakeRegistry) -> None:
    number = fake.add(ONE)
    codec = RegisteredCodec(AvroForm(), "t", Registry(fake.url))
    value = b"\0" + number.to_bytes(4, "big") + b"\x02"
    unknown = b"\0\0\0\0\x63\x02"
    for _ in range(3):
        codec.prepare(records(value, value, None, unknown, b"x", b""))
    assert fake.asked == ["GET /api/schemas/ids/1", "GET /api/schemas/ids/99"]
    decoded = codec.decode(spec(Row), records(value, unknown)["value"])
    assert decoded.rows.to_dicts() == [{"a": 1, "_row": 0, "_index": 0}]
    assert [f.cause.rule for f in decoded.failures] == ["a schema that the registry does not know"]


def test_what_a_codec_has_learnt_serves_another_process(fake: FakeRegistry) -> None:
    number = fake.add(ONE)
    codec = RegisteredCodec(AvroForm(), "t", Registry(fake.url))
    values = records(b"\0" + number.to_bytes(4, "big") + b"\x02", b"\0\0\0\0\x63\x02")
    codec.prepare(values)
    other = formats.restored(json.loads(json.dumps(codec.to_json())))
    fake.fault = (500, b"")
    other.prepare(values)
    wanted = codec.decode(spec(Row), values["value"])
    found = other.decode(spec(Row), values["value"])
    assert found.rows.equals(wanted.rows)
    assert found.failures == wanted.failures


def test_what_is_not_registered_is_not_written(fake: FakeRegistry) -> None:
    codec = RegisteredCodec(AvroForm(), "t", Registry(fake.url))
    frame = pl.DataFrame({"a": [1]})
    with pytest.raises(Refused, match="not registered yet"):
        codec.encode(spec(Row), frame)
    assert "a first version of 't-value'" in codec.preview(spec(Row))[0]
    codec.register(spec(Row))
    assert codec.preview(spec(Row)) == ()
    assert codec.encode(spec(Row), frame).to_list() == [b"\0\0\0\0\x01\x02"]
    fake.refuses = "a is gone"
    again = RegisteredCodec(AvroForm(), "t", Registry(fake.url))
    again.register(spec(Row))

    class Other(ps.Contract):
        b: str

    for ask in (again.register, again.preview):
        with pytest.raises(ContractError, match=r"b: the field is missing.*; a is gone"):
            ask(spec(Other))
