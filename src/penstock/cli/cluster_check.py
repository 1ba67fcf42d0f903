"""Looks at Spark: what it needs here, and what its executors have and reach."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli import machine, options
from penstock.cli.findings import Finding, looked_at, refusal
from penstock.contract import masking
from penstock.engines.systems import Systems
from penstock.errors import PenstockError
from penstock.plan import LOG_STORE
from penstock.services import artifacts, java

if TYPE_CHECKING:
    from penstock.engines.spark.probe import Inquiry, Report
    from penstock.engines.spark.session import Cluster
    from penstock.pipeline import Pipeline
    from penstock.plan import Segment
    from penstock.profile import Profile


def examine(
    settings: Profile, declared: Pipeline, segments: Sequence[Segment], program: Path
) -> Iterator[Finding]:
    """Examine Spark as a run would meet it; starts it for a moment.

    Args:
        settings: The profile.
        declared: The pipeline.
        segments: The same, compiled.
        program: Its file.
    """
    here = list(_here(settings))
    yield from here
    read = [segment for segment in segments if segment.kind == "topic"]
    if not (read and all(finding.good for finding in here)):
        return
    from penstock.engines.spark.session import Cluster

    try:
        with (
            Systems(settings, declared.name, options.data()) as systems,
            Cluster(settings, declared.name, program, options.data() / "spark") as cluster,
        ):
            words = f"Spark {cluster.session.version} at {settings.engine}"
            yield Finding("engine", "good", f"{words} runs {cluster.cores} tasks at once")
            yield from _executors(cluster, _inquiry(cluster, systems, read))
    except PenstockError as error:
        yield refusal("engine", error)


def _here(settings: Profile) -> Iterator[Finding]:
    def jars() -> tuple[()]:
        artifacts.classpath("spark")
        return ()

    def machine() -> tuple[()]:
        java.for_spark(settings.spark.java or None)
        return ()

    yield from looked_at("Spark's jars", "fit the pyspark that is installed", jars)
    yield from looked_at("Java", "will do for Spark", machine)


def _inquiry(cluster: Cluster, systems: Systems, read: Sequence[Segment]) -> Inquiry:
    from penstock.engines.spark.probe import Inquiry
    from penstock.logs.kafka.brokers import brokers

    try:
        advertised = tuple(brokers(systems.log_url))
    except PenstockError:  # found out before, for the segments that read it
        advertised = ()
    return Inquiry(
        cluster.shipped,
        systems.for_executors(),
        {segment.name: segment.plan.fingerprint for segment in read},
        {
            lane.store: (segment.name, lane.name)
            for segment in read
            for lane in segment.lanes
            if lane.store != LOG_STORE
        },
        advertised,
        {name: key for one in read for name, key in masking.keys(one.spec).items()},
    )


def _executors(cluster: Cluster, inquiry: Inquiry) -> Iterator[Finding]:
    """What executors found; the same from several of them is said once."""
    start = time.time()
    try:
        reports = inquiry.of(cluster)
    except PenstockError as error:
        yield refusal("executors", error)
        return
    end = time.time()
    reached = ", ".join(
        ["Kafka", *inquiry.stores, *(["the registry"] * bool(inquiry.profile.registry))]
    )
    if not any(report.wrong for report in reports):
        hosts = ", ".join(sorted({report.host for report in reports}))
        python = ", ".join(sorted({report.python for report in reports}))
        words = f"on {hosts}, Python {python}: load the program and reach {reached}"
        yield Finding("executors", "good", words)
    for host, wrong in dict.fromkeys((r.host, w) for r in reports for w in r.wrong):
        yield Finding(
            f"{wrong.system} from {host}", "away" if wrong.away else "refused", wrong.message
        )
    for host, words in dict.fromkeys(_differences(reports, start, end)):
        yield Finding(f"executors on {host}", "change", words)


def _differences(reports: Sequence[Report], start: float, end: float) -> Iterator[tuple[str, str]]:
    from penstock.engines.spark.probe import versions

    here = versions()
    for report in reports:
        for name, there in report.libraries.items():
            if there != here[name]:
                yield (
                    report.host,
                    f"have {name} {there}, the driver has {here[name]}; install the same",
                )
        if skew := machine.skew(report.clock, start, end):
            yield report.host, f"their clock is {skew} this machine's; latencies will look wrong"
