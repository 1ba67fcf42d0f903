"""The real servers: what they hold survives, they listen here only, and damage is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from tests.stack import clients
from tests.stack.servers import free_ports, without

from penstock.errors import Refused, Unavailable
from penstock.services import artifacts, java, table
from penstock.services.server import Service

JAVA = ("kafka", "registry", "cassandra")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=table.STACK)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    made = begin(request.param, tmp_path)
    yield made
    made.down()


def begin(name: str, root: Path, **more: Any) -> Service:
    if name in JAVA:
        try:
            java.find(minimum=21)
            artifacts.ensure([name])
        except (Refused, Unavailable) as error:
            without(str(error))
    port, internal_port = free_ports(2)
    ports = {"port": port, "internal_port": internal_port, "timeout": "5m"}
    return table.get(name, ports | more, root=root)


def process(service: Service) -> psutil.Process:
    pid = service.status().pid
    assert pid is not None
    return psutil.Process(pid)


def test_what_it_holds_survives(service: Service) -> None:
    write, read = CLIENTS[service.name]
    url = service.up()
    write(url)
    killed = process(service)
    killed.kill()
    psutil.wait_procs([killed], timeout=30)
    assert service.status().state == "died"
    assert service.up() == url
    assert read(url)
    service.down()
    assert service.status().state == "stopped"
    service.up()
    assert read(url)
    listening = [c for c in process(service).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_damage_is_said(service: Service) -> None:
    service.up()
    service.down()
    [damage] = DAMAGE[service.name](service.log.parent / "data")
    damage.write_bytes(b"\xff\x00 this is not what was here")
    with pytest.raises(Refused) as refused:
        service.up()
    assert "move" in str(refused.value)
    assert "to begin anew" in str(refused.value)
    assert service.status().state != "running"


def test_the_password_of_postgresql_is_kept_and_needed(tmp_path: Path) -> None:
    service = begin("postgresql", tmp_path)
    url = service.up()
    try:
        [passfile] = map(Path, parse_qs(urlsplit(url).query)["passfile"])
        assert passfile.stat().st_mode & 0o777 == 0o600
        password = passfile.read_text()
        for wrong in (url.partition("?")[0], f"{url.partition('?')[0]}?password=wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(wrong)
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolcanlogin")
            assert str(row.fetchone()).startswith("('SCRAM-SHA-256$")
        service.down()
        service.up()
        assert passfile.read_text() == password
        assert password.split(":")[4].strip() not in service.log.read_text()
    finally:
        service.down()


def test_a_broker_takes_its_own_settings(tmp_path: Path) -> None:
    service = begin("kafka", tmp_path, settings={"num.partitions": 7})
    url = service.up()
    try:
        admin = AdminClient({"bootstrap.servers": urlsplit(url).netloc})
        [found] = admin.describe_configs([ConfigResource(ConfigResource.Type.BROKER, "1")]).values()
        assert found.result(60)["num.partitions"].value == "7"
    finally:
        service.down()


def test_a_wrong_setting_of_a_broker_is_said(tmp_path: Path) -> None:
    service = begin("kafka", tmp_path, settings={"num.network.threads": "many"})
    with pytest.raises(Refused, match=r"many.*num.network.threads"):
        service.up()
    assert not (tmp_path / "kafka" / "data").exists()


def test_too_little_memory_is_said(tmp_path: Path) -> None:
    service = begin("registry", tmp_path, memory="1m")
    with pytest.raises(Refused, match=r"set memory under \[services.registry\]"):
        service.up()


def write_kafka(url: str) -> None:
    clients.produce(url, "kept", [b"value"])


def read_kafka(url: str) -> bool:
    settings = {"bootstrap.servers": urlsplit(url).netloc, "group.id": "kept"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition("kept", 0, 0)])
        message = consumer.poll(60)
        return message is not None and message.value() == b"value"
    finally:
        consumer.close()


def write_registry(url: str) -> None:
    schema = {"schema": json.dumps({"type": "string"})}
    answer = httpx.post(f"{url}/subjects/kept-value/versions", json=schema, timeout=60)
    answer.raise_for_status()


def read_registry(url: str) -> bool:
    return "kept-value" in httpx.get(f"{url}/subjects", timeout=60).json()


def write_cassandra(url: str) -> None:
    with clients.cql(url) as session:
        session.execute(
            "CREATE KEYSPACE kept WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        session.execute("CREATE TABLE kept.kept (id int PRIMARY KEY)")
        session.execute("INSERT INTO kept.kept (id) VALUES (7)")


def read_cassandra(url: str) -> bool:
    with clients.cql(url) as session:
        return [row.id for row in session.execute("SELECT id FROM kept.kept")] == [7]


def write_postgresql(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS id")


def read_postgresql(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT id FROM kept").fetchall() == [(7,)]


CLIENTS: dict[str, tuple[Callable[[str], None], Callable[[str], bool]]] = {
    "kafka": (write_kafka, read_kafka),
    "registry": (write_registry, read_registry),
    "cassandra": (write_cassandra, read_cassandra),
    "postgresql": (write_postgresql, read_postgresql),
}


def commit_log(data: Path) -> list[Path]:
    shutil.rmtree(data / "commitlog")
    return [data / "commitlog"]


DAMAGE: dict[str, Callable[[Path], list[Path]]] = {
    "kafka": lambda data: [data / "meta.properties"],
    "registry": lambda data: list(data.glob("*.mv.db")),
    "cassandra": commit_log,
    "postgresql": lambda data: [data / "global" / "pg_control"],
}
