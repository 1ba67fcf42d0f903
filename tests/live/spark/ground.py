"""A user's folder with a profile `spark`, whose executors can be found and killed."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from tests.live.project import Project, killed
from tests.stack.watchdog import servers_of

EXECUTORS = "local-cluster[2,1,1024]"
"""Two executors in processes of their own."""

PROGRAM = '''
import os
import signal
import time
from pathlib import Path

import polars as pl
import psutil
from pyspark import TaskContext

import penstock as ps

MARKS = Path("MARKS_FOLDER")


def once(name):
    """Whether this is the first who asks, of all processes."""
    try:
        (MARKS / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def attempt():
    """Which attempt of a task on an executor this is; -1 elsewhere."""
    task = TaskContext.get()
    return -1 if task is None else task.attemptNumber()


def executor():
    """The JVM of this process."""
    return next(found for found in psutil.Process().parents() if found.name() == "java")


def wait_for(name):
    deadline = time.monotonic() + 100
    while not (MARKS / name).exists() and time.monotonic() < deadline:
        time.sleep(0.05)


class Item(ps.Contract):
    id: int = ps.key()
    number: int


def same(items: pl.DataFrame) -> pl.DataFrame:
    return items


# the test's own


pipeline = ps.Pipeline("things")
items = pipeline.topic("items", Item).map(same, Item)
items.sink("seen", store="one", mode="append")
items.sink("latest", store="two")
'''
"""Each record into an append table, and the latest of each id into another one."""


@dataclass
class Ground(Project):
    """Runs are on Spark, unless `--profile test` says that they are in one process.

    Args:
        engine: Spark's master.
        spark: Settings of the profile.
        conf: Raw settings.
    """

    engine: str = EXECUTORS
    spark: dict[str, Any] = field(default_factory=dict)
    conf: dict[str, str] = field(default_factory=dict)
    patience: float = 400

    def __post_init__(self) -> None:
        (self.path / "tmp").mkdir()
        self.marks.mkdir()
        self.environment |= {"PENSTOCK_PROFILE": "spark", "TMPDIR": str(self.path / "tmp")}
        super().__post_init__()

    @property
    def marks(self) -> Path:
        """Where processes of executors leave their marks."""
        return self.path / "marks"

    @property
    def marked(self) -> set[str]:
        return {mark.name for mark in self.marks.iterdir()}

    def settle(self) -> None:
        super().settle()
        file = self.path / "penstock.toml"
        head, stores = file.read_text().split("[profiles.test.stores]")
        given = {"driver_memory": "600m", **self.spark}
        lines = [
            head,
            "[profiles.test.stores]",
            stores,
            head.replace("profiles.test", "profiles.spark"),
            f"engine = {json.dumps(self.engine)}",
            "[profiles.spark.stores]",
            stores,
            "[profiles.spark.spark]",
            *(f"{name} = {json.dumps(value)}" for name, value in given.items()),
            "[profiles.spark.spark.conf]",
            *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in self.conf.items()),
        ]
        file.write_text("\n".join([*lines, ""]))

    def program(self, body: str = "", program: str = PROGRAM, name: str = "program.py") -> None:
        """Write the program.

        Args:
            body: Python in place of the map `same`.
            program: The text around it.
            name: The file's.
        """
        text = program.replace("MARKS_FOLDER", str(self.marks))
        self.write(text.replace("# the test's own", body), name)

    # --- the topic ---

    @property
    def topic(self) -> str:
        return f"{self.prefix}items"

    def make(self, partitions: int = 2, **settings: str) -> None:
        admin = AdminClient(self.client)
        made = admin.create_topics([NewTopic(self.topic, partitions, config=settings)])
        made[self.topic].result(60)

    def grow(self, partitions: int) -> None:
        from confluent_kafka.cimpl import NewPartitions

        admin = AdminClient(self.client)
        admin.create_partitions([NewPartitions(self.topic, partitions)])[self.topic].result(60)

    def delete(self) -> None:
        admin = AdminClient(self.client)
        admin.delete_topics([self.topic])[self.topic].result(60)

    @property
    def client(self) -> dict[str, str | int | float | bool]:
        return {"bootstrap.servers": urlsplit(self.log).netloc}

    def send(self, numbers: Iterable[int], partitions: int = 2, ids: int = 997) -> None:
        """Send items by number; an id comes again after so many."""
        self.send_values(
            (n % ids % partitions, str(n % ids).encode(), _item(n, ids)) for n in numbers
        )

    def send_values(
        self,
        records: Iterable[tuple[int, bytes | None, bytes | None]],
        headers: Mapping[str, bytes | None] | None = None,
    ) -> None:
        """Send records: partition, key, value."""
        producer = Producer(
            {**self.client, "message.max.bytes": 2 << 20, "enable.idempotence": True}
        )
        for partition, key, value in records:
            while True:
                try:
                    producer.produce(
                        self.topic,
                        value,
                        key,
                        partition=partition,
                        headers=list((headers or {}).items()),
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(120) == 0

    # --- what came of it ---

    def exact(self, numbers: Iterable[int], ids: int = 997) -> None:
        """See that the tables hold these items, and no others."""
        wanted = sorted(numbers)
        seen = Counter(n for (n,) in self.rows("SELECT number FROM one.seen"))
        lost, more = Counter(wanted) - seen, seen - Counter(wanted)
        assert not lost and not more, f"lost {sorted(lost)[:9]}, too many {sorted(more)[:9]}"
        latest = {number % ids: number for number in wanted}
        assert dict(self.rows("SELECT id, number FROM two.latest")) == latest

    def staged(self) -> list[str]:
        """Tables in which executors staged rows, and that are still there."""
        found = self.rows(
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname ~ '^stage_'"
        )
        return [name for (name,) in found]

    # --- processes ---

    def processes(self) -> list[psutil.Process]:
        """All that a run has started: Spark's driver, executors, their Python workers."""
        return [process for process in servers_of(self.path) if _lives(process)]

    def executors(self) -> list[psutil.Process]:
        """JVMs of executors."""
        return [p for p in self.processes() if "CoarseGrainedExecutorBackend" in _words(p)]

    def driver(self) -> psutil.Process:
        """The JVM of Spark's driver."""
        [found] = [p for p in self.processes() if "SparkSubmit" in _words(p)]
        return found

    def alone(self) -> None:
        """See that no process is left, nor a folder that only a run needs."""
        until(lambda: not self.processes(), "the processes end")
        assert list((self.path / "tmp").glob("penstock-*")) == []
        assert list((self.path / ".penstock" / "spark").glob("spark-*")) == []


def _item(number: int, ids: int) -> bytes:
    return json.dumps({"id": number % ids, "number": number}).encode()


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _words(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def until(true: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s until {what}"
        time.sleep(0.05)


def ended(process: subprocess.Popen[bytes], seconds: float = 300) -> tuple[int, str]:
    """Wait for a run's end; returns its code and what it said."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as late:
        out, err = killed(process)
        raise AssertionError(f"{late}; it said:\n{(out + err).decode()}") from None
    return process.returncode, (out + err).decode()


Records = Sequence[tuple[int, bytes | None, bytes | None]]
