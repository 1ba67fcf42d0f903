"""Passwords and certificates, against a broker that asks for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.live.kafka import secured
from tests.live.kafka.producing import Owner
from tests.live.kafka.secured import NOBODY, PASSWORD, READER, USER, Secured
from tests.stack.servers import Servers

from penstock.errors import Refused, Unavailable
from penstock.logs.kafka import client, open_topic
from penstock.logs.kafka.topic_sink import KafkaTopicSink
from penstock.records import Limits, Span
from penstock.testing.conformance.subjects import KEY, Person, lane, people, rows, steps

ALL = Limits(records=1000, bytes=1 << 20)
LOGIN = (USER, PASSWORD)
THREE = rows(people((1, "a@x", 10), (2, "b@x", None), (3, None, 30)))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    with Servers(folder / "servers") as servers:
        yield secured.started(servers, folder)


@pytest.fixture(scope="module")
def topic(broker: Secured) -> str:
    owner = Owner(broker.plain, f"t_{uuid.uuid4().hex[:12]}")
    owner.make()
    owner.produce([b"a"])
    return owner.name


def read(url: str, topic: str) -> list[bytes]:
    log = open_topic(url, topic)
    try:
        log.wait({0: 0}, 60)
        return log.read({0: 0}, ALL).records["value"].to_list()
    finally:
        log.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_login_reads(broker: Secured, topic: str, mechanism: str) -> None:
    assert read(broker.url("SASL_PLAINTEXT", {"sasl": mechanism}, LOGIN), topic) == [b"a"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_login_reads_through_tls(broker: Secured, topic: str, mechanism: str) -> None:
    options = broker.named({"sasl": mechanism, "tls": "true", "ca": "ca"})
    assert read(broker.url("SASL_SSL", options, LOGIN), topic) == [b"a"]


def test_a_client_certificate_reads(broker: Secured, topic: str) -> None:
    options = {"tls": "true", "ca": "ca", "cert": "cert", "key": "key"}
    assert read(broker.url("SSL", broker.named(options)), topic) == [b"a"]


def test_reading_needs_no_more_than_the_right_to_read(broker: Secured, topic: str) -> None:
    log = open_topic(broker.url("SASL_PLAINTEXT", {}, (READER, READER)), topic, pipeline="shop")
    assert log.wait({0: 0}, 60)
    assert log.read({0: 0}, ALL).records.height == 1
    assert log.wait({0: 1}, 2) is False
    log.mark("things@store", {0: 1})  # which it may not
    log.close()


def test_a_user_without_rights_is_told_so(broker: Secured, topic: str) -> None:
    with pytest.raises(Refused, match=r"no topic|grant this user"):
        read(broker.url("SASL_PLAINTEXT", {}, (NOBODY, NOBODY)), topic)


TLS = {"tls": "true", "ca": "ca"}
REFUSED = {
    "wrong password": ("SASL_PLAINTEXT", {"sasl": "PLAIN"}, "check user, password"),
    "wrong scram password": ("SASL_PLAINTEXT", {"sasl": "SCRAM-SHA-256"}, "check user, password"),
    "another authority": ("SASL_SSL", {"tls": "true", "ca": "other"}, "issuer.*ca= in the log URL"),
    "expired": ("EXPIRED", TLS, "expired.*renewed"),
    "no client certificate": ("SSL", TLS, "cert= and key="),
    "expired client certificate": (
        "SSL",
        {**TLS, "cert": "old-cert", "key": "old-key"},
        "expired.*cert= and key=",
    ),
}
SILENT = {
    "no tls": ("SSL", {}, "whether it wants tls=true"),
    "tls to a plain listener": ("PLAIN", TLS, "a listener without TLS"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_without_the_password(broker: Secured, topic: str, case: str) -> None:
    listener, options, said = REFUSED[case]
    login = (USER, "not the secret") if "SASL" in listener else None
    with pytest.raises(Refused, match=rf"(?s){said}") as raised:
        read(broker.url(listener, broker.named(options), login), topic)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("case", SILENT)
def test_what_may_be_wrong_with_a_silent_broker_is_said(
    broker: Secured, topic: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 3.0)
    listener, options, said = SILENT[case]
    with pytest.raises(Unavailable, match=said):
        read(broker.url(listener, broker.named(options)), topic)


def test_the_sink_writes_through_a_login_and_tls(broker: Secured) -> None:
    options = broker.named({"sasl": "SCRAM-SHA-256", "tls": "true", "ca": "ca"})
    url = broker.url("SASL_SSL", options, LOGIN)
    written = replace(lane(Person, "topic"), table=f"t_{uuid.uuid4().hex[:12]}")
    sink = KafkaTopicSink(url, written, KEY)
    sink.open()
    before = sink.claim({0: 1})
    sink.commit([sink.stage(THREE)], steps(before, {0: THREE.height}))
    sink.close()
    log = open_topic(url, written.table)
    try:
        ends = {p: span.end for p, span in log.spans().items()}
        assert log.reread({p: Span(0, end) for p, end in ends.items()}).records.height == 3
    finally:
        log.close()
