"""What a `kafka://` URL may say, and that no message shows its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import ProfileError
from penstock.logs.kafka import address, client

SECRET = "s3cr:t@/?#&="
QUOTED = "s3cr%3At%40%2F%3F%23%26%3D"


def test_brokers_get_the_port_they_lack() -> None:
    read = address.read("kafka://a,b:9093,[::1],[::2]:1")
    assert read.settings["bootstrap.servers"] == "a:9092,b:9093,[::1]:9092,[::2]:1"
    assert read.settings["security.protocol"] == "plaintext"
    assert (read.replication, read.compression) == (None, "lz4")


def test_a_login_is_by_plain_unless_said() -> None:
    found = address.read(f"kafka://ann%40example.org:{QUOTED}@a").settings
    assert found["security.protocol"] == "sasl_plaintext"
    assert found["sasl.mechanism"] == "PLAIN"
    assert found["sasl.username"] == "ann@example.org"
    assert found["sasl.password"] == SECRET


def test_tls_and_files(tmp_path: Path) -> None:
    names = {name: tmp_path / f"{name} &.pem" for name in ("ca", "cert", "key")}
    for file in names.values():
        file.touch()
    files = "&".join(f"{n}={str(f).replace('&', '%26')}" for n, f in names.items())
    found = address.read(f"kafka://u:p@a?tls=true&sasl=SCRAM-SHA-512&{files}").settings
    assert found["security.protocol"] == "sasl_ssl"
    assert found["sasl.mechanism"] == "SCRAM-SHA-512"
    assert found["ssl.ca.location"] == str(names["ca"])
    assert found["ssl.certificate.location"] == str(names["cert"])
    assert found["ssl.key.location"] == str(names["key"])


def test_settings_of_new_topics_and_of_records() -> None:
    read = address.read("kafka://a?replication=3&compression=zstd")
    assert (read.replication, read.compression) == (3, "zstd")


@pytest.mark.parametrize(
    ("url", "said"),
    {
        "kafka://": "names no broker",
        "kafka://a,,b": "names no broker",
        "kafka://a:b": "names no broker by 'a:b'",
        "kafka://a:99999": "names no broker by 'a:99999'",
        "kafka://a:²": "names no broker",
        "kafka://a/topic": "has a path '/topic'",
        "kafka://[a": "is no URL",
        "kafka://a?acks=1": "unknown option 'acks'; there are tls, ca",
        "kafka://a?tls=true&tls=false": "'tls' twice",
        "kafka://a?tls=yes": "has tls=yes; there are true, false",
        "kafka://a?ca=/etc/hosts": "has 'ca' without tls=true",
        "kafka://a?tls=true&ca=/nowhere": "ca=/nowhere, and there is no such file",
        "kafka://a?tls=true&cert=/etc/hosts": "needs both cert= and key=",
        "kafka://a?sasl=PLAIN": "sasl= without a user",
        f"kafka://u:{QUOTED}@a?sasl=GSSAPI": "has sasl=GSSAPI; there are PLAIN",
        "kafka://u@a": "needs a user and a password",
        "kafka://u:@a": "needs a user and a password",
        "kafka://a?replication=0": "replication=0; write a number",
        "kafka://a?replication=-1": "replication=-1; write a number",
        "kafka://a?compression=rar": "compression=rar; there are lz4",
        f"kafka://u:{QUOTED}@a?x=1": r"kafka://u:\*\*\*@a\?x=1 has an unknown option 'x'",
    }.items(),
)
def test_what_is_wrong_is_said(url: str, said: str) -> None:
    with pytest.raises(ProfileError, match=said) as raised:
        address.read(url)
    assert "s3cr" not in str(raised.value)


def test_nothing_shows_the_password() -> None:
    url = f"kafka://u:{QUOTED}@a"
    assert "s3cr" not in repr(address.read(url)) + address.read(url).words
    assert client.settings(url)["sasl.password"] == SECRET
