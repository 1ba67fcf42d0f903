"""What Spark is told when it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.profile import Profile

RETRIES = 4
"""How often a task is tried before its micro-batch fails."""

_LOCAL = re.compile(r"local\[(\d+|\*)\]")

_DEFAULTS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.submit.deployMode": "client",
    "spark.scheduler.mode": "FAIR",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    "spark.kafka.consumer.cache.capacity": "256",
    # What a run of months would keep in memory for a console that is off.
    "spark.ui.retainedJobs": "10",
    "spark.ui.retainedStages": "10",
    "spark.ui.retainedTasks": "1000",
    "spark.ui.retainedDeadExecutors": "10",
    "spark.sql.ui.retainedExecutions": "1",
    "spark.sql.streaming.ui.retainedQueries": "1",
    "spark.sql.streaming.ui.retainedProgressUpdates": "2",
    "spark.sql.streaming.numRecentProgressUpdates": "2",
    "spark.sql.streaming.minBatchesToRetain": "2",
}


@dataclass(frozen=True)
class Places:
    """What this machine gives to the driver.

    Args:
        jars: The connectors.
        scratch: A folder for what Spark keeps while it runs.
        logging: The settings of its log.
    """

    jars: Sequence[Path]
    scratch: Path
    logging: Path


def properties(profile: Profile, pipeline: str, places: Places) -> dict[str, str]:
    """Say every setting of a run; they may hold secrets.

    Args:
        profile: Its own raw settings win over ours.
        pipeline: The pipeline's name.
        places: On this machine.
    """
    spark = profile.spark
    options = [
        f"-Dlog4j2.configurationFile={places.logging.absolute().as_uri()}",
        f'"-Djava.io.tmpdir={places.scratch.absolute()}"',
        "-XX:-UsePerfData",
    ]
    settings = {
        **_DEFAULTS,
        "spark.master": master(profile.engine or "local[*]"),
        "spark.app.name": f"penstock {pipeline}",
        "spark.jars": ",".join(str(jar.absolute()) for jar in places.jars),
        "spark.driver.memory": spark.driver_memory,
        "spark.executor.memory": spark.executor_memory,
        "spark.driver.host": spark.host,
        "spark.driver.bindAddress": spark.host,
        "spark.task.maxFailures": str(RETRIES),
        "spark.local.dir": str(places.scratch.absolute()),
        "spark.sql.warehouse.dir": (places.scratch.absolute() / "warehouse").as_uri(),
    }
    if spark.executor_cores:
        settings["spark.executor.cores"] = str(spark.executor_cores)
    if spark.archives:
        settings["spark.archives"] = spark.archives
    settings.update(spark.conf)
    _extend(settings, "spark.driver.extraJavaOptions", " ".join(options), " ")
    return settings


def master(engine: str) -> str:
    """Let local tasks be tried again, as those of a cluster are."""
    found = _LOCAL.fullmatch(engine)
    return f"local[{found[1]},{RETRIES}]" if found else engine


def executors_python(profile: Profile, own: str) -> str:
    """Say which Python the executors run.

    Args:
        profile: Its setting wins; next is that of a packed environment.
        own: The driver's.
    """
    spark = profile.spark
    folder = spark.archives.rpartition("#")[2] if "#" in spark.archives else ""
    packed = f"./{folder}/bin/python" if folder else ""
    return spark.python or packed or own


def written(settings: Mapping[str, str]) -> str:
    """Write settings as a file that `spark-submit` reads."""
    return "".join(f"{_escaped(name)}={_escaped(value)}\n" for name, value in settings.items())


def _escaped(text: str) -> str:
    pairs = text.encode("utf-16-be")
    units = [int.from_bytes(pairs[i : i + 2], "big") for i in range(0, len(pairs), 2)]
    plain = re.compile(r"[A-Za-z0-9._/,*-]")
    return "".join(chr(unit) if plain.match(chr(unit)) else f"\\u{unit:04x}" for unit in units)


def _extend(settings: dict[str, str], name: str, more: str, between: str) -> None:
    before = settings.get(name)
    settings[name] = f"{before}{between}{more}" if before else more
