"""Real Kafka, schema registry, Cassandra and Spark for tests that ask for them.

One of each is started per test session when the first test asks, on a free port of 127.0.0.1,
with its data below pytest's temporary folder, and stopped at the end, also when pytest is killed.
`PENSTOCK_TEST_STACK` names servers to use instead (see `tests.stack.given`). Without Java or the
servers' jars these tests are skipped with the reason; where CI is set they fail.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.stack import clients, given, objects
from tests.stack.servers import Servers, require

from penstock.services import java


@pytest.fixture(scope="session")
def session_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("stack")) as servers:
        yield servers


@pytest.fixture(scope="session")
def kafka(session_servers: Servers) -> str:
    """The broker of this session, as `kafka://127.0.0.1:PORT`."""
    return given.servers().get("kafka") or session_servers.start("kafka").url


@pytest.fixture(scope="session")
def registry(session_servers: Servers) -> str:
    """The URL of this session's schema registry."""
    return given.servers().get("registry") or session_servers.start("registry").url


@pytest.fixture(scope="session")
def cassandra(session_servers: Servers) -> str:
    """This session's Cassandra, as `cassandra://127.0.0.1:PORT`; a keyspace is to be added."""
    return given.servers().get("cassandra") or session_servers.start("cassandra").url


@pytest.fixture(scope="session")
def spark() -> Path:
    """The Java that Spark runs on here; pyspark and the connector's jars are there, too."""
    require("spark")
    return java.for_spark()


@pytest.fixture(scope="session")
def spark_master(spark: Path, session_servers: Servers) -> str:
    """This session's standalone master, with a worker of two cores: `spark://127.0.0.1:PORT`."""
    return given.servers().get("spark") or session_servers.start("spark", cores=2).url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[objects.Objects]:
    """This session's S3: `s3.bucket()` makes a bucket and returns its URL."""
    with objects.started(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def s3_bucket(s3: objects.Objects) -> str:
    """The URL of a bucket that only this test uses."""
    return s3.bucket()


@pytest.fixture(scope="session")
def hdfs(session_servers: Servers) -> str:
    """This session's HDFS, as `hdfs://127.0.0.1:PORT`; a folder is to be added."""
    return given.servers().get("hdfs") or session_servers.start("hdfs").url


@pytest.fixture
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Start servers for this test alone, which it may stop and kill: `own_servers.start(name)`."""
    with Servers(tmp_path_factory.mktemp("stack")) as servers:
        yield servers


@pytest.fixture(scope="session")
def cql(cassandra: str) -> Iterator[Any]:
    """A session of a CQL client that is not Penstock's."""
    with clients.cql(cassandra) as session:
        yield session


@pytest.fixture
def topic_name(kafka: str) -> Iterator[str]:
    """A name for this test's topics: all that begin with it are deleted at the end."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    yield name
    clients.delete_topics(kafka, name)


@pytest.fixture
def keyspace(cql: Any) -> Iterator[str]:
    """A name for this test's keyspace, which is not there yet; dropped at the end."""
    name = f"ks_{uuid.uuid4().hex[:12]}"
    yield name
    cql.execute(f"DROP KEYSPACE IF EXISTS {name}")
