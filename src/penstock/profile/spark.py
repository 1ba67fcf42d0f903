"""The table `[profiles.NAME.spark]`: how a profile wants its Spark engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from penstock.errors import ProfileError
from penstock.profile.urls import filled
from penstock.units import seconds

_MEMORY = re.compile(r"[1-9][0-9]*[kmgt]", re.IGNORECASE)

_MASTER = re.compile(
    r"local\[(\d+|\*)(,\d+)?\]|local-cluster\[\d+,\d+,\d+\]|spark://\S+|yarn|k8s://\S+"
)


@dataclass(frozen=True)
class SparkSettings:
    """Settings of the Spark engine; each has a default that works.

    Args:
        trigger: Least seconds from the beginning of a micro-batch to that of the next.
        records: Records in a micro-batch at most.
        inline: A micro-batch of so many records is written by the driver; the rows of a larger one
            are staged by the executors.
        partitions: Tasks of a micro-batch; 0 is one for each core of the engine.
        driver_memory: Of the driver's JVM.
        executor_memory: Of each executor's JVM.
        executor_cores: Of each executor; 0 leaves it to Spark.
        python: The executors' Python; empty is the driver's.
        archives: A packed environment that is shipped to the executors, `file#folder`.
        files: Files that are shipped beside the program, relative to its folder.
        java: Home of the Java that runs the driver; empty finds one.
        host: Where the executors reach the driver.
        conf: Raw settings of Spark; may hold secrets.
    """

    trigger: float = 0.1
    records: int = 50_000
    inline: int = 50_000
    partitions: int = 0
    driver_memory: str = "1g"
    executor_memory: str = "1g"
    executor_cores: int = 0
    python: str = ""
    archives: str = ""
    files: tuple[str, ...] = ()
    java: str = ""
    host: str = "127.0.0.1"
    conf: Mapping[str, str] = field(default_factory=dict, repr=False)


def is_master(engine: str) -> bool:
    """Whether an engine is one of Spark's: `spark://host:port`, `local[2]`, `yarn`, …."""
    return _MASTER.fullmatch(engine) is not None


def read(where: str, table: Mapping[str, Any]) -> SparkSettings:
    """Read the table.

    Args:
        where: Its place, for messages.
        table: As it is in the file.

    Raises:
        ProfileError: A setting is unknown or wrong.
    """
    known = {one.name: one.default for one in fields(SparkSettings)}
    if unknown := set(table) - set(known):
        raise ProfileError(
            f"{where} has an unknown setting {sorted(unknown)[0]!r}; it has {', '.join(known)}"
        )
    return SparkSettings(**{name: _value(where, name, value) for name, value in table.items()})


def _value(where: str, name: str, value: object) -> Any:
    place = f"{where} {name}"
    if name == "trigger":
        return _trigger(place, value)
    if name in {"records", "inline", "partitions", "executor_cores"}:
        least = 1 if name == "records" else 0
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ProfileError(f"{place} must be a number from {least} on, not {value!r}")
        return value
    if name == "files":
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ProfileError(f"{place} must be a list of files")
        return tuple(value)
    if name == "conf":
        if not isinstance(value, dict):
            raise ProfileError(f'{place} must be a table, such as "spark.ui.enabled" = "true"')
        return {key: filled(f"{place} {key}", str(one)) for key, one in value.items()}
    text = filled(place, value)
    if name.endswith("_memory") and not _MEMORY.fullmatch(text):
        raise ProfileError(f'{place} is {text!r}; write a size such as "1g" or "512m"')
    return text


def _trigger(place: str, value: object) -> float:
    try:
        return seconds(str(value))
    except ValueError as error:
        raise ProfileError(f"{place}: {error}") from None
