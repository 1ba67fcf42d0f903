"""What Spark is told when it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.profile import Profile

TRIES = 4
"""How often a task is tried before its micro-batch fails."""

_LOCAL = re.compile(r"local\[(\d+|\*)\]")

_DEFAULTS = {
    "spark.submit.deployMode": "client",
    "spark.scheduler.mode": "FAIR",
    "spark.task.maxFailures": str(TRIES),
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    "spark.kafka.consumer.cache.capacity": "1024",
    # What a run of months would keep in memory for pages that nobody looks at.
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.ui.retainedJobs": "10",
    "spark.ui.retainedStages": "10",
    "spark.ui.retainedTasks": "1000",
    "spark.ui.retainedDeadExecutors": "10",
    "spark.sql.ui.retainedExecutions": "1",
    "spark.sql.streaming.ui.retainedQueries": "1",
    "spark.sql.streaming.ui.retainedProgressUpdates": "2",
    "spark.sql.streaming.numRecentProgressUpdates": "2",
    "spark.sql.streaming.minBatchesToRetain": "2",
    # Nothing rests on the checkpoint. Spark's usual way to rename its files starts processes.
    "spark.sql.streaming.checkpoint.fileChecksum.enabled": "false",
    "spark.sql.streaming.checkpointFileManagerClass": "org.apache.spark.sql.execution.streaming"
    ".checkpointing.FileSystemBasedCheckpointFileManager",
}


@dataclass(frozen=True)
class Places:
    """What this machine gives to the driver.

    Args:
        jars: The connectors.
        scratch: A folder for what Spark keeps while it runs; absolute.
        logging: The settings of its log.
    """

    jars: Sequence[Path]
    scratch: Path
    logging: Path


def properties(profile: Profile, pipeline: str, places: Places) -> dict[str, str]:
    """Say every setting of a run; they may hold secrets.

    Args:
        profile: Its raw settings win over ours.
        pipeline: The pipeline's name.
        places: On this machine.
    """
    spark = profile.spark
    engine = profile.engine or "local[*]"
    settings = {
        **_DEFAULTS,
        "spark.master": master(engine),
        "spark.app.name": f"penstock {pipeline}",
        "spark.driver.memory": spark.driver_memory,
        "spark.executor.memory": spark.executor_memory,
        "spark.driver.host": spark.host,
        "spark.driver.bindAddress": spark.host,
        "spark.local.dir": str(places.scratch),
        "spark.sql.warehouse.dir": (places.scratch / "warehouse").as_uri(),
    }
    if spark.executor_cores:
        settings["spark.executor.cores"] = str(spark.executor_cores)
    if spark.archives:
        settings["spark.archives"] = spark.archives
    settings.update(spark.conf)
    settings["spark.jars"] = ",".join(
        filter(None, [*map(str, places.jars), settings.get("spark.jars")])
    )
    options = _java_options(places)
    _append(settings, "spark.driver.extraJavaOptions", options)
    if engine.startswith("local-cluster"):  # its executors are on this machine
        _append(settings, "spark.executor.extraJavaOptions", options)
    return settings


def _java_options(places: Places) -> str:
    options = [
        f"-Dlog4j2.configurationFile={places.logging.absolute().as_uri()}",
        f"-Djava.io.tmpdir={places.scratch}",
        f"-XX:ErrorFile={places.scratch.parent / 'driver-crash.log'}",
        "-XX:-UsePerfData",
    ]
    return " ".join(f'"{option}"' for option in options)


def _append(settings: dict[str, str], name: str, more: str) -> None:
    before = settings.get(name)
    settings[name] = f"{before} {more}" if before else more


def master(engine: str) -> str:
    """Say which master Spark is given: local tasks are tried again, as those of a cluster are."""
    found = _LOCAL.fullmatch(engine)
    return f"local[{found[1]},{TRIES}]" if found else engine


def is_local(engine: str) -> bool:
    """Whether the driver's own JVM is the only executor."""
    return engine.startswith("local[")


def executors_python(profile: Profile, own: str) -> str:
    """Say which Python the executors run: the profile's, a packed environment's, or the driver's.

    Args:
        profile: What the user wants.
        own: The driver's Python.
    """
    spark = profile.spark
    packed = spark.archives.partition("#")[2]
    if packed and not is_local(profile.engine or ""):
        return spark.python or f"./{packed}/bin/python"
    return spark.python or own


def written(settings: Mapping[str, str]) -> str:
    """Write settings as a file that Spark's launcher reads; any text survives."""
    return "".join(f"{_escaped(name)}={_escaped(value)}\n" for name, value in settings.items())


def _escaped(text: str) -> str:
    units = memoryview(text.encode("utf-16-le")).cast("H")
    return "".join(f"\\u{unit:04x}" for unit in units)
