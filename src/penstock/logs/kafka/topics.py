"""Makes topics as they are declared, and finds out what they are."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewPartitions, NewTopic

from penstock.errors import Refused, Unavailable
from penstock.logs.kafka import client
from penstock.logs.kafka.errors import errors
from penstock.units import counted

if TYPE_CHECKING:
    from penstock.pipeline import Retention

_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
_PORTION = 8
"""How many segments a retention is divided into: what is being written is never removed."""
_SEGMENT_BYTES = (1 << 20, 1 << 30)
_SEGMENT_MS = (60_000, 7 * 86_400_000)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topic:
    """A topic as it is.

    Args:
        name: What it is called.
        id: Changes when it is made anew.
        partitions: How many it has.
    """

    name: str
    id: str
    partitions: int


@dataclass(frozen=True)
class Wanted:
    """A topic as it shall be.

    Args:
        name: What it is called.
        partitions: How many it shall have; None takes it as it is.
        retention: How long it keeps records; None leaves that as it is.
        config: More of its settings, as Kafka names them.
    """

    name: str
    partitions: int | None = None
    retention: Retention | None = None
    config: Mapping[str, str] | None = None

    def settings(self, partitions: int) -> dict[str, str]:
        """The topic's settings; Kafka counts a retention's size by partition."""
        found = dict(self.config or {})
        if self.retention is None:
            return found
        if self.retention.seconds is not None:
            age = int(self.retention.seconds * 1000)
            found["retention.ms"] = str(age)
            found["segment.ms"] = str(_within(age // _PORTION, _SEGMENT_MS))
        if self.retention.bytes is not None:
            size = max(1, self.retention.bytes // partitions)
            found["retention.bytes"] = str(size)
            found["segment.bytes"] = str(_within(size // _PORTION, _SEGMENT_BYTES))
        return found


def find(admin: client.Admin, name: str) -> Topic | None:
    """Look a topic up; None when there is none.

    Raises:
        Refused: The name cannot be a topic's, or the user may not see it.
        Unavailable: Kafka is away.
    """
    if not _NAME.fullmatch(name):
        raise Refused(
            f"{name!r} cannot be the name of a topic in Kafka: use up to 249 of A-Z, a-z, 0-9, "
            "'.', '_' and '-'"
        )
    (asked,) = admin.client.describe_topics(TopicCollection([name])).values()
    try:
        admin.await_all([asked])
        found = asked.result()
    except KafkaException as error:
        if error.args[0].code() in _MISSING:
            return None
        with errors(f"topic {name!r}"):
            raise
    return Topic(name, str(found.topic_id), len(found.partitions))


def make(admin: client.Admin, wanted: Wanted, replication: int | None) -> Topic:
    """Make a topic, or make it what it shall be: partitions grow, settings are set and said.

    Args:
        admin: The cluster.
        wanted: How it shall be; without `partitions` it is taken as it is.
        replication: How many copies a new topic has; None leaves it to the brokers.

    Raises:
        Refused: It has more partitions, others should have made it, or Kafka says no.
        Unavailable: Kafka is away.
    """
    topic = find(admin, wanted.name)
    if wanted.partitions is None:
        if topic is None:
            raise Refused(
                f"there is no topic {wanted.name!r} at {admin.words}, and this pipeline does not "
                "write it; have its owner make it, or correct the name in .topic()"
            )
        return topic
    if topic is None:
        _create(admin, wanted, replication)
    else:
        refuse_shrinking(topic, wanted.partitions)
        if topic.partitions < wanted.partitions:
            grown = NewPartitions(wanted.name, wanted.partitions)
            (asked,) = admin.client.create_partitions([grown]).values()
            admin.result(asked, f"topic {wanted.name!r}")
        _configure(admin, wanted)
    return _settled(admin, wanted)


def refuse_shrinking(topic: Topic, asked: int) -> None:
    """Raise `Refused` when a topic has more partitions than it shall have."""
    if asked < topic.partitions:
        raise Refused(
            f"topic {topic.name!r} has {topic.partitions} partitions and cannot shrink to {asked}; "
            f"write partitions={topic.partitions}"
        )


def drift(admin: client.Admin, wanted: Wanted) -> dict[str, tuple[str | None, str]]:
    """Compare a topic's settings with those it shall have.

    Returns:
        For each that differs what it is and what it shall be.

    Raises:
        Refused: The user may not see them.
        Unavailable: Kafka is away.
    """
    settings = wanted.settings(wanted.partitions or 1)
    if not settings:
        return {}
    now = _settings(admin, wanted.name)
    return {
        name: (now.get(name), value) for name, value in settings.items() if now.get(name) != value
    }


def preview(admin: client.Admin, wanted: Wanted) -> list[str]:
    """Say what `make` would create or change, one sentence each; raises as it does."""
    topic, partitions = find(admin, wanted.name), wanted.partitions or 1
    if topic is None:
        return [f"create topic {wanted.name!r} with {counted(partitions, 'partition')}"]
    refuse_shrinking(topic, partitions)
    said = [
        f"set {name}={after} for topic {wanted.name!r}, which has {before}"
        for name, (before, after) in drift(admin, wanted).items()
    ]
    if added := partitions - topic.partitions:
        there = topic.partitions
        more = counted(added, "partition")
        said.append(f"add {more} to topic {wanted.name!r}, which has {there}")
    return said


def largest_record(admin: client.Admin, name: str) -> int:
    """The most bytes that a topic takes at once; raises as `drift` does."""
    return int(_settings(admin, name)["max.message.bytes"] or 0)


def compacts(admin: client.Admin, name: str) -> bool:
    """Whether Kafka removes records that later ones replace; raises as `drift` does."""
    return "compact" in (_settings(admin, name)["cleanup.policy"] or "")


def _settings(admin: client.Admin, name: str) -> dict[str, str | None]:
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    (asked,) = admin.client.describe_configs([resource]).values()
    found: dict[str, Any] = admin.result(asked, f"topic {name!r}")
    return {name: entry.value for name, entry in found.items()}


def _create(admin: client.Admin, wanted: Wanted, replication: int | None) -> None:
    partitions = wanted.partitions or 1
    new = NewTopic(wanted.name, partitions, replication or -1, config=wanted.settings(partitions))
    (asked,) = admin.client.create_topics([new]).values()
    admin.await_all([asked])
    error = asked.exception()
    if error is not None and error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
        return  # another process was quicker
    admin.result(asked, f"topic {wanted.name!r}")


def _configure(admin: client.Admin, wanted: Wanted) -> None:
    changes = drift(admin, wanted)
    if not changes:
        return
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, (_, value) in changes.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, wanted.name, incremental_configs=entries)
    (asked,) = admin.client.incremental_alter_configs([resource]).values()
    admin.result(asked, f"topic {wanted.name!r}")
    for name, (before, after) in changes.items():
        _log.warning("topic %r: %s was %s, is set to %s", wanted.name, name, before, after)


def _settled(admin: client.Admin, wanted: Wanted) -> Topic:
    """Wait until the brokers know of the topic and all its partitions."""
    deadline = time.monotonic() + client.PATIENCE
    while True:
        topic = find(admin, wanted.name)
        if topic is not None and topic.partitions >= (wanted.partitions or 1):
            return topic
        if time.monotonic() > deadline:
            raise Unavailable(f"topic {wanted.name!r} was made, but is not there yet; trying again")
        time.sleep(0.02)


def _within(value: int, bounds: tuple[int, int]) -> int:
    return max(bounds[0], min(value, bounds[1]))
