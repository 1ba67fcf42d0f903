"""Many writers of one topic at once, some of them stopped or killed in the middle."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import polars as pl
import psycopg
import pytest

from penstock.errors import PenstockError
from penstock.logs.postgresql import open_topic
from penstock.records import Limits, Span

WRITER = """
import sys
import polars as pl
from penstock.logs.postgresql import open_topic

url, name, batches, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
log = open_topic(url, "busy")
for batch in range(batches):
    values = [f"{name} {batch} {n}".encode() for n in range(size)]
    bases = log.append(pl.DataFrame({"value": values, "partition": [batch % 2] * size},
                                    schema={"value": pl.Binary, "partition": pl.Int32}))
    print(name, batch, batch % 2, bases[batch % 2], flush=True)
log.close()
"""

MANY = Limits(records=1_000_000, bytes=1 << 30)


class Writer:
    def __init__(self, url: str, name: str, batches: int, size: int = 20) -> None:
        line = [sys.executable, "-c", WRITER, url, name, str(batches), str(size)]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        self.acknowledged: list[tuple[str, int, int, int]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            name, batch, partition, base = line.split()
            self.acknowledged.append((name, int(batch), int(partition), int(base)))

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.wait(60)
        self._reader.join()
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def busy(database: str) -> Iterator[str]:
    open_topic(database, "busy", 2).close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE penstock.logs SET child_rows = 500")  # children in the middle
    yield database


def records(url: str) -> pl.DataFrame:
    log = open_topic(url, "busy")
    try:
        return log.read({0: 0, 1: 0}, MANY).records
    finally:
        log.close()


def check(url: str, writers: list[Writer], size: int = 20) -> pl.DataFrame:
    found = records(url)
    for (_,), part in found.group_by("partition"):
        assert part["offset"].to_list() == list(range(part.height)), "a gap or a double"
    places = {
        (r["partition"], r["offset"]): r["value"].decode() for r in found.iter_rows(named=True)
    }
    assert len(set(places.values())) == len(places), "a record was written twice"
    for name, batch, partition, base in itertools.chain(*(w.acknowledged for w in writers)):
        for n in range(size):
            assert places[partition, base + n] == f"{name} {batch} {n}", "an append is torn"
    return found


def test_concurrent_writers_leave_no_gap(busy: str) -> None:
    writers = [Writer(busy, f"w{n}", 60) for n in range(4)]
    for writer in writers:
        writer.end()
    assert check(busy, writers).height == 4 * 60 * 20


def test_stopped_and_killed_writers_block_nobody(busy: str) -> None:
    pick = random.Random(7)
    healthy = Writer(busy, "healthy", 150)
    others = [Writer(busy, f"w{n}", 10_000) for n in range(3)]
    while healthy.process.poll() is None:
        victim = pick.choice(others)
        if victim.process.poll() is None:
            victim.process.send_signal(signal.SIGSTOP)
            threading.Event().wait(pick.random() / 20)
            victim.process.send_signal(
                pick.choice([signal.SIGCONT, signal.SIGCONT, signal.SIGKILL])
            )
    assert healthy.process.returncode == 0
    for writer in others:
        writer.process.kill()
    for writer in (healthy, *others):
        writer.end()
    found = check(busy, [healthy, *others])
    mine = [v for v in found["value"].to_list() if v.startswith(b"healthy")]
    assert len(mine) == 150 * 20


def test_a_writer_stopped_for_good_blocks_nobody(busy: str) -> None:
    stopped = Writer(busy, "stopped", 10_000)
    while len(stopped.acknowledged) < 3:
        assert stopped.process.poll() is None
    os.kill(stopped.process.pid, signal.SIGSTOP)
    healthy = Writer(busy, "healthy", 50)
    healthy.end()
    assert len(healthy.acknowledged) == 50
    stopped.process.kill()
    stopped.end()
    check(busy, [stopped, healthy])


def test_readers_never_see_a_gap(busy: str) -> None:
    """Offsets become visible in order: what a reader has passed never appears later."""
    writers = [Writer(busy, f"w{n}", 80) for n in range(3)]
    log = open_topic(busy, "busy")
    starts = {0: 0, 1: 0}
    frames = []
    while any(w.process.poll() is None for w in writers) or log.wait(starts, 0):
        if log.wait(starts, 0.2):
            batch = log.read(starts, Limits(137, 1 << 20))
            frames.append(batch.records)
            starts |= {p: span.end for p, span in batch.spans.items()}
    for writer in writers:
        writer.end()
    seen = pl.concat(frames)
    assert seen.height == 3 * 80 * 20
    assert seen.sort("partition", "offset").equals(check(busy, writers))
    log.close()


def test_a_foreign_lock_times_out(busy: str) -> None:
    """Somebody who holds the head in a transaction of their own delays writers, not for ever."""
    log = open_topic(busy, "busy")
    log._session.execute("SET lock_timeout = '100ms'")
    with psycopg.connect(busy) as foreign:
        foreign.execute("SELECT * FROM penstock.log_heads FOR UPDATE")
        frame = pl.DataFrame({"value": [b"x"]})
        with pytest.raises(PenstockError, match=r"is not available.*lock timeout"):
            log.append(frame)
        assert log.spans() == {0: Span(0, 0), 1: Span(0, 0)}
    assert log.append(frame) == {0: 0}
    log.close()
