"""What odd topics and servers that die do to a run on Spark: what they do to an embedded one."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from tests.live.spark.ground import Ground, until
from tests.stack.servers import Servers
from tests.stack.watchdog import watched

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def ground(
    tmp_path: Path, database: str, spark: Path, kafka: str, topic_name: str
) -> Iterator[Ground]:
    tmp_path = tmp_path.resolve()
    with watched(tmp_path):
        yield Ground(tmp_path, database, log=kafka, prefix=f"{topic_name}_", engine="local[2]")


@contextmanager
def alive(ground: Ground, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Give a run that goes on until it is told to end."""
    with (ground.path / "said").open("wb") as said:
        run = ground.start("run", "program.py", *words, said=said)
        try:
            yield run
        finally:
            run.kill()
            run.wait()


def said(ground: Ground) -> str:
    return (ground.path / "said").read_text()


def seen(ground: Ground) -> int:
    """How many rows there are; none while there is no table yet."""
    [(there,)] = ground.rows("SELECT to_regclass('one.seen') IS NOT NULL")
    return int(ground.rows("SELECT count(*) FROM one.seen")[0][0]) if there else 0


def waited(ground: Ground, run: subprocess.Popen[bytes], count: int) -> None:
    """Wait for so many rows."""

    def there() -> bool:
        assert run.poll() is None, said(ground)
        return seen(ground) >= count

    until(there, f"{count} rows are there", 300)


LOCKED = """
import threading


def locking():
    lock = threading.Lock()

    def same(items):
        with lock:  # which nobody can pickle
            if 13 in items["number"].to_list() and not (MARKS / "mended").exists():
                raise ValueError("thirteen")
            return items

    return same


same = locking()
"""


def test_a_topic_with_everything_in_it(ground: Ground) -> None:
    ground.program(LOCKED)
    ground.make(200, **{"max.message.bytes": "1000000"})
    with alive(ground) as run:
        until(lambda: "latest@two is running" in said(ground), "the lanes are claimed", 300)
        ground.send(range(1_000), partitions=200)
        waited(ground, run, 999)
        ground.driver().kill()  # Spark's, not ours: it is started again
        ground.grow(203)
        large = {"x": "." * 900_000}
        values = [json.dumps({"id": n, "number": n, **large}).encode() for n in range(1000, 1005)]
        odd: dict[str, bytes | None] = {"": None, "trace": b"\xff\x00"}
        ground.send_values(((202, b"%d" % n, v) for n, v in enumerate(values, 1000)), odd)
        ground.send_values([(5, b"5", b"{bad"), (6, None, b"")])
        in_transactions(ground, range(1_005, 1_105), partition=201)
        waited(ground, run, 1_104)
        # for each lane the thirteenth, and two that are no items
        assert ground.rows("SELECT count(*) FROM penstock.dead_letters") == [(6,)]

        (ground.marks / "mended").touch()
        ground.penstock("deadletters", "replay", f"segment={ground.topic}")
        waited(ground, run, 1_105)
        run.send_signal(signal.SIGTERM)
        assert run.wait(120) == 0, said(ground)
    numbers = sorted(n for (n,) in ground.rows("SELECT number FROM one.seen"))
    assert numbers == list(range(1_105))
    ground.balance()
    ground.alone()
    [lane] = [lane for lane in lanes(ground) if lane["lane"] == "seen@one"]
    assert (lane["behind"], lane["replays_to_go"]) == (0, 0)


def lanes(ground: Ground) -> list[dict[str, Any]]:
    [pipeline] = ground.json("status")["pipelines"]
    return [lane for segment in pipeline["segments"] for lane in segment["lanes"]]


def in_transactions(ground: Ground, numbers: range, partition: int) -> None:
    """Send numbers, between others that are taken back; a control record is the last."""
    producer = Producer({**ground.client, "transactional.id": ground.prefix})
    producer.init_transactions(60)
    for kept in (False, True, False):
        producer.begin_transaction()
        for number in numbers if kept else range(10):
            value = json.dumps({"id": number, "number": number}).encode()
            producer.produce(ground.topic, value, b"%d" % number, partition=partition)
        if kept:
            producer.commit_transaction(60)
        else:
            producer.flush(60)
            producer.abort_transaction(60)


def test_a_topic_that_is_another_one_is_refused(ground: Ground) -> None:
    ground.program()
    ground.make()
    ground.send(range(100))
    with alive(ground) as run:
        waited(ground, run, 100)
        ground.delete()
        ground.make()
        ground.send(range(500))
        until(lambda: run.poll() is not None, "the run ends", 300)
        assert run.returncode == 1, said(ground)
    assert "was deleted and made anew while it was read" in said(ground)
    assert seen(ground) == 100
    ground.alone()


def test_what_retention_took_is_refused_in_the_same_words(ground: Ground) -> None:
    ground.program()
    ground.make()
    ground.send(range(100))
    ground.run("--profile", "test")
    ground.send(range(100, 200))
    gone = [TopicPartition(ground.topic, 0, 90)]
    admin: Any = AdminClient(ground.client)
    admin.delete_records(gone)[gone[0]].result(60)
    on_spark = ground.run(code=1).splitlines()[-1]
    assert ground.run("--profile", "test", code=1).splitlines()[-1] == on_spark


@pytest.mark.slow
def test_servers_die_and_come_back(
    tmp_path: Path, database: str, spark: Path, own_servers: Servers
) -> None:
    kafka = own_servers.start("kafka")
    master = own_servers.start("spark", cores=2)
    with watched(tmp_path):
        ground = Ground(tmp_path.resolve(), database, log=kafka.url, engine=master.url)
        ground.program()
        ground.make()
        with alive(ground) as run:
            ground.send(range(1_000))
            waited(ground, run, 1_000)
            blows: list[Callable[[], None]] = [
                kafka.kill,
                lambda: master.kill("worker-1/work"),
                lambda: master.kill("worker-1"),
                lambda: master.kill("master"),
                master.kill,
            ]
            for number, kill in enumerate(blows, 1):
                kill()
                kafka.up()
                master.up()
                ground.send(range(number * 1_000, number * 1_000 + 1_000))
                waited(ground, run, number * 1_000 + 1_000)
            run.send_signal(signal.SIGTERM)
            assert run.wait(120) == 0, said(ground)
        ground.exact(range(6_000))
        ground.balance()
        until(lambda: not ground.processes(), "the processes end")


@pytest.mark.slow
def test_a_million_dead_letters_in_one_batch(ground: Ground) -> None:
    ground.spark = {"records": 1_000_000, "inline": 0}
    ground.settle()
    ground.program()
    ground.make()
    ground.send_values((n % 2, b"%d" % n, b'{"id": "bad %d"}' % n) for n in range(1_000_000))
    ground.patience = 900
    ground.run()
    assert ground.counts("seen@one")["dead"] == 1_000_000
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3_000_000
    ground.balance()
