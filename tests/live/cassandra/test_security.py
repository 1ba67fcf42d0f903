"""Logins, rights and certificates, with a real Cassandra that wants them."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, NoHostAvailable
from tests.live.cassandra.certificates import PASSWORD, Certificates
from tests.live.cassandra.conftest import MakeSink
from tests.live.cassandra.writing import read, write
from tests.stack.proxy import Proxy
from tests.stack.servers import Server, Servers

from penstock.errors import ProfileError, Refused, Unavailable
from penstock.testing.conformance.sink_store import THREE
from penstock.testing.conformance.subjects import rows

pytestmark = pytest.mark.timeout(600)  # a Cassandra is started

ROLES = {
    "owner": "GRANT ALL ON ALL KEYSPACES TO owner",
    "reader": "GRANT SELECT ON ALL KEYSPACES TO reader",
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Cassandra with logins, rights and TLS in both directions."""
    encryption = {
        "enabled": True,
        "optional": True,  # readiness is asked without TLS
        "require_client_auth": True,
        "keystore": str(certificates.path("keystore.p12")),
        "keystore_password": PASSWORD,
        "truststore": str(certificates.path("truststore.p12")),
        "truststore_password": PASSWORD,
        "store_type": "PKCS12",
    }
    settings = {
        "authenticator": "PasswordAuthenticator",
        "authorizer": "CassandraAuthorizer",
        "client_encryption_options": encryption,
        "permissions_validity": "0ms",
    }
    with Servers(tmp_path_factory.mktemp("guarded")) as servers:
        server = servers.start("cassandra", settings=settings)
        with _administrator(server) as cluster:
            session = cluster.connect()
            for role, grant in ROLES.items():
                session.execute(f"CREATE ROLE {role} WITH LOGIN = true AND PASSWORD = 'ge@h/eim'")
                session.execute(grant)
        yield server


@pytest.fixture
def place(guarded: Server) -> str:
    return guarded.url.removeprefix("cassandra://")


def _administrator(server: Server) -> Cluster:
    """Log in as the superuser, whom a new server makes a while after its start."""
    login = PlainTextAuthProvider("cassandra", "cassandra")
    host, _, port = server.url.removeprefix("cassandra://").partition(":")
    deadline = time.monotonic() + 90
    while True:
        cluster = Cluster([host], port=int(port), auth_provider=login, connect_timeout=30)
        try:
            cluster.connect().shutdown()
            return cluster
        except NoHostAvailable:
            cluster.shutdown()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_login_over_tls_in_both_directions(
    make_sink: MakeSink, place: str, certificates: Certificates
) -> None:
    files = "&".join(
        f"{option}={certificates.path(name)}"
        for option, name in (("ca", "ca.pem"), ("cert", "client.pem"), ("key", "client-key.pem"))
    )
    url = f"cassandra://owner:ge%40h%2Feim@{place}/guarded?replication=1&tls=true&{files}"
    sink = make_sink(url=url)
    sink.open()
    write(sink, rows(THREE))
    assert read(sink).height == 3


@pytest.mark.parametrize("login", ["owner:wrong@", "nobody:geheim@", ""])
def test_a_wrong_login_is_refused(make_sink: MakeSink, place: str, login: str) -> None:
    with pytest.raises(Refused, match="login") as caught:
        make_sink(url=f"cassandra://{login}{place}/guarded").open()
    assert "wrong" not in str(caught.value).replace("wrong credentials", "")
    assert "geheim" not in str(caught.value)


def test_without_rights_the_cql_is_told(make_sink: MakeSink, place: str) -> None:
    reading = f"cassandra://reader:ge%40h%2Feim@{place}"
    with pytest.raises(Refused, match=r"(?s)CREATE.*CREATE KEYSPACE IF NOT EXISTS"):
        make_sink(url=f"{reading}/another?replication=1").open()
    owner = make_sink(url=f"cassandra://owner:ge%40h%2Feim@{place}/rights?replication=1")
    owner.open()
    write(owner, rows(THREE))
    reader = make_sink(url=f"{reading}/rights")
    reader.open()
    assert read(reader).height == 3
    with pytest.raises(Refused, match="MODIFY"):
        write(reader, rows(THREE))


def test_without_our_certificate(
    make_sink: MakeSink, place: str, certificates: Certificates
) -> None:
    ca = certificates.path("ca.pem")
    url = f"cassandra://owner:ge%40h%2Feim@{place}/guarded?tls=true&ca={ca}"
    # With TLS 1.3 the server says why only after the handshake, and may close before it is heard.
    with pytest.raises((Refused, Unavailable), match="cert"):
        make_sink(url=url).open()


# --- certificates of the server's, shown by a proxy before a Cassandra without TLS ---


@pytest.mark.parametrize(
    ("shown", "trusted", "words"),
    [
        ("expired", "ca.pem", "expired"),
        ("server", "other-ca.pem", "cannot be trusted"),
        ("server", None, "cannot be trusted"),
        ("stranger", "ca.pem", "127.0.0.1"),
    ],
)
def test_a_certificate_that_cannot_be_trusted(
    make_sink: MakeSink,
    cassandra: str,
    certificates: Certificates,
    shown: str,
    trusted: str | None,
    words: str,
) -> None:
    with Proxy(cassandra, tls=_context(certificates, shown)) as proxy:
        ca = f"&ca={certificates.path(trusted)}" if trusted else ""
        with pytest.raises(Refused, match=words):
            make_sink(url=f"cassandra://127.0.0.1:{proxy.port}/any?tls=true{ca}").open()


def test_a_trusted_certificate(
    make_sink: MakeSink, cassandra: str, keyspace: str, certificates: Certificates
) -> None:
    with Proxy(cassandra, tls=_context(certificates, "server")) as proxy:
        ca = certificates.path("ca.pem")
        options = f"replication=1&tls=true&ca={ca}"
        sink = make_sink(url=f"cassandra://127.0.0.1:{proxy.port}/{keyspace}?{options}")
        sink.open()
        write(sink, rows(THREE))
        assert read(sink).height == 3
        sink.close()


def test_tls_where_the_server_has_none(make_sink: MakeSink, cassandra: str) -> None:
    with pytest.raises(Refused, match="TLS"):
        make_sink(url=f"{cassandra}/any?tls=true").open()


def test_a_file_that_is_no_certificate(make_sink: MakeSink, cassandra: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ProfileError, match=r"ca\.pem"):
        make_sink(url=f"{cassandra}/any?tls=true&ca={tmp_path / 'ca.pem'}").open()


def _context(certificates: Certificates, shown: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain, key = certificates.path(f"{shown}.pem"), certificates.path(f"{shown}-key.pem")
    context.load_cert_chain(chain, key)
    return context
