"""Servers of a Spark benchmark: Kafka, and a PostgreSQL that Spark's JDBC reaches, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.measure import Run, run
from benchmarks.site import Site
from benchmarks.stack import KEYSPACE, Stack, stack
from penstock.services import artifacts, java

OWN = Path(__file__).parent / "peer_programs" / "spark_own.py"


@dataclass(frozen=True)
class Cluster:
    """A stack whose home and stores are in a PostgreSQL that listens on TCP.

    Args:
        stack: The servers.
        url: Of that PostgreSQL.
    """

    stack: Stack
    url: str

    @property
    def site(self) -> Site:
        """The folder with its home."""
        return replace(self.stack.here, url=self.url)

    def pipeline(
        self,
        program: str,
        engine: str,
        *options: str,
        spark: Mapping[str, int | str] | None = None,
        **environment: str,
    ) -> tuple[Run, dict[str, Any]]:
        """Run a program of `benchmarks/programs` on an engine; it must balance.

        Args:
            program: Its name.
            engine: A master of Spark, or `embedded`.
            options: Of `penstock run`.
            spark: Settings of the profile's table `spark`.
            environment: For the program.
        """
        self._write(engine, spark or {})
        return self.site.pipeline(program, *options, "--profile", "bench", **environment)

    def peer(self, master: str, topic: str, way: str) -> tuple[Run, dict[str, Any]]:
        """Run Spark's own way.

        Args:
            master: Of Spark.
            topic: What it reads.
            way: `noop` or `jdbc`.
        """
        jars = [*artifacts.classpath("spark"), *artifacts.classpath("jdbc")]
        parts = urlsplit(self.url)
        password = Path(parse_qs(parts.query)["passfile"][0]).read_text().strip()
        environment = {
            **os.environ,
            "JAVA_HOME": str(java.for_spark().resolve().parent.parent),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PGUSER": parts.username or "postgres",
            "PGPASSWORD": password.rpartition(":")[2],
        }
        command = [sys.executable, str(OWN), master, ",".join(map(str, jars)), self.stack.kafka]
        command += [topic, way, f"jdbc:postgresql://{parts.hostname}:{parts.port}{parts.path}"]
        took = run(command, self.stack.here.folder, environment)
        return took, json.loads(took.printed.splitlines()[-1])

    def _write(self, engine: str, spark: Mapping[str, int | str]) -> None:
        """Write the profile `bench` behind the settings of the services."""
        file = self.stack.here.folder / "penstock.toml"
        services = file.read_text().partition("[profiles.bench]")[0]
        stores = [f'{name} = "{self.url}&schema={name}"' for name in ("warehouse", "serving")]
        if self.stack.cassandra:
            url = f"cassandra://{self.stack.cassandra}/{KEYSPACE}?replication=1"
            stores.append(f'wide = "{url}"')
        lines = [
            "[profiles.bench]",
            f'home = "{self.url}"',
            f'log = "kafka://{self.stack.kafka}"',
            "" if engine == "embedded" else f'engine = "{engine}"',
            "[profiles.bench.stores]",
            *stores,
            "[profiles.bench.spark]" if spark else "",
            *(f"{name} = {json.dumps(value)}" for name, value in spark.items()),
            "",
        ]
        file.write_text(services + "\n".join(lines))


@contextmanager
def cluster(*names: str) -> Iterator[Cluster]:
    """Start Kafka, PostgreSQL and what else is named, and take all away at the end."""
    with stack("kafka", "postgresql", *names) as here:
        command = [sys.executable, "-m", "penstock", "services", "up", "postgresql", "--json"]
        said = subprocess.run(
            command, cwd=here.here.folder, check=True, capture_output=True, text=True
        )
        (service,) = json.loads(said.stdout)["services"]
        yield Cluster(here, service["url"])
