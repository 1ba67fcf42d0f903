"""Work through real Kafka: into PostgreSQL and Cassandra, out of a landing, and how long it takes.

Everything reads one topic of 2 partitions that a plain client has filled, peers included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from benchmarks import floor_cassandra, floor_kafka, peers, suite
from benchmarks.records import write_ndjson
from benchmarks.stack import LEAD, PROFILE, Stack, create, fill, stack, trickling, versions
from benchmarks.suite import Result

TOPIC = "people"
RATE = 5_000
PARTITIONS = 8


def postgresql(rows: int, with_peers: bool) -> Iterator[Result]:
    """Kafka to a table, append and upsert, beside PostgreSQL's floors and the peers."""
    with stack("kafka") as here:
        yield _servers("kafka")
        copy, upsert = suite.floor_results(here.here, rows)
        yield from (copy, upsert)
        _filled(here, rows)
        append, process = _moved(here, "kafka_append", rows)
        yield _beside(append, copy)
        yield _beside(_moved(here, "kafka_upsert", rows)[0], upsert)
        if with_peers:
            yield from _peers(here, rows, process)


def cassandra(rows: int) -> Iterator[Result]:
    """Kafka to Cassandra, beside the best of a bare loop before and after."""
    with stack("kafka", "cassandra") as here:
        yield _servers("kafka", "cassandra")
        count = min(rows, 100_000)
        floor_cassandra.rates(here.cassandra, count // 2)  # the server gets warm
        _filled(here, rows)
        before = floor_cassandra.rates(here.cassandra, count)
        moved, _ = _moved(here, "kafka_cassandra", rows)
        after = floor_cassandra.rates(here.cassandra, count)
    best = {size: max(rate, after[size]) for size, rate in before.items()}
    each = ", ".join(f"{size} rows: {rate:,.0f}" for size, rate in best.items())
    floor = Result("floor: bare loop of the driver", max(best.values()), "rows/s", each)
    yield floor
    yield _beside(moved, floor)


def topics(rows: int) -> Iterator[Result]:
    """Kafka to a topic of a Kafka store, beside a bare transactional loop before and after."""
    with stack("kafka") as here:
        yield _servers("kafka")
        _filled(here, rows)
        rates = []
        for target in ("bare_before", "bare_after"):
            create(here.kafka, target, 2)
            rates.append(floor_kafka.rate(here.kafka, TOPIC, target, rows, 2))
            if target == "bare_before":
                moved, _ = _moved(here, "kafka_kafka", rows)
    each = ", ".join(f"{rate:,.0f}" for rate in rates)
    floor = Result("floor: bare loop, topic → topic", max(rates), "records/s", each)
    yield floor
    yield _beside(replace(moved, name="Kafka → Kafka store, append"), floor)


def landing(rows: int) -> Iterator[Result]:
    """A filled landing to Kafka, transactionally."""
    with stack("kafka") as here:
        yield _servers("kafka")
        lines = here.here.folder / "records.ndjson"
        write_ndjson(lines, rows)
        here.here.ingest("fill", "--once", "--profile", PROFILE, RECORDS=str(lines))
        took, said = here.pipeline("fill", "--until-idle", RECORDS=str(lines))
        _expect(said, rows)
    note = f"process {took.process:.0f} MB; {rows / took.seconds:,.0f}/s with start and end"
    yield Result("landing → Kafka", rows / said["seconds"], "records/s", note)


def latency(seconds: int) -> Iterator[Result]:
    """Born to visible through Kafka, two sinks: by way of a landing, and written by others."""
    words = f"{seconds} s at {RATE:,}/s, {PARTITIONS} partitions"
    with stack("kafka") as here:
        yield _servers("kafka")
        here.pipeline("start", "--until-idle")  # the broker makes its own topics
        settings = {"RATE": str(RATE), "PARTITIONS": str(PARTITIONS)}
        _, said = here.pipeline("latency", "--for", f"{seconds}s", **settings)
        name = "born → landing → Kafka → visible"
        yield from suite.latencies(here.here.url, said, name, words, seconds // 4)
    with stack("kafka") as here:
        here.pipeline("start", "--until-idle")
        create(here.kafka, "trickle", PARTITIONS)
        producer = trickling(here.kafka, "trickle", RATE, seconds)
        try:
            _, said = here.pipeline("kafka_latency", "--for", f"{LEAD + seconds}s")
        finally:
            producer.terminate()
            producer.wait()
        name = "written to Kafka → visible"
        yield from suite.latencies(here.here.url, said, name, words, seconds // 4)


def parts(quick: bool, with_peers: bool) -> Mapping[str, Callable[[], Iterator[Result]]]:
    """The parts by name."""
    return {
        "kafka-postgresql": lambda: postgresql(100_000 if quick else 1_000_000, with_peers),
        "kafka-cassandra": lambda: cassandra(30_000 if quick else 300_000),
        "kafka-topics": lambda: topics(100_000 if quick else 1_000_000),
        "kafka-landing": lambda: landing(100_000 if quick else 1_000_000),
        "kafka-latency": lambda: latency(20 if quick else 60),
    }


def _filled(here: Stack, rows: int) -> None:
    create(here.kafka, TOPIC, 2)
    fill(here.kafka, TOPIC, rows)


def _moved(here: Stack, program: str, rows: int) -> tuple[Result, float]:
    """Run a program that moves all records; also give the rate of its whole process."""
    took, said = here.pipeline(program, "--until-idle")
    _expect(said, rows)
    process = rows / took.seconds
    note = f"process {took.process:.0f} MB; {process:,.0f}/s with start and end"
    name = f"Kafka → table, {program.removeprefix('kafka_')}"
    return Result(name, rows / said["seconds"], "records/s", note), process


def _beside(result: Result, floor: Result) -> Result:
    ratio = f"{result.value / floor.value:.2f} × {floor.name}"
    return replace(result, note=f"{ratio}; {result.note}")


def _expect(said: Mapping[str, object], rows: int) -> None:
    lanes = said["lanes"]
    assert isinstance(lanes, list)
    for lane in lanes:
        if lane["counts"]["written"] != rows:
            raise AssertionError(f"{lane['lane']} wrote {lane['counts']} of {rows} rows")


def _peers(here: Stack, rows: int, ours: float) -> Iterator[Result]:
    """Run the peers; the ratio compares whole processes, start and end included."""
    for peer in peers.FROM_KAFKA:
        count, topic = min(rows, peer.most or rows), TOPIC
        if count < rows:
            topic = f"{TOPIC}_{count}"
            create(here.kafka, topic, 2)
            fill(here.kafka, topic, count)
        for mode in ("checked", "unchecked"):
            name = f"{peer.name} {peer.version()}: Kafka → table, {mode}"
            source = [here.kafka, topic, str(count)]
            try:
                rate = count / peers.run(peer, mode, source, here.here.url, count)
            except AssertionError as error:  # the others' figures count all the same
                yield Result(name, 0.0, "records/s", f"no result: {error}")
                continue
            note = f"append is {ours / rate:.2f} × this, both with start and end; {peer.note}"
            yield Result(name, rate, "records/s", note)


def _servers(*names: str) -> Result:
    return Result("servers", len(names), "", versions(names))
