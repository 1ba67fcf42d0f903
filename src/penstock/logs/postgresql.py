"""Opens the logs of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from penstock.logs import tables
from penstock.logs.landing import LandingLog
from penstock.logs.table_log import TableLog
from penstock.logs.topic import TopicLog
from penstock.postgresql import connection, stalls

if TYPE_CHECKING:
    from penstock.pipeline import Retention

LogType = TypeVar("LogType", bound=TableLog)


def open_topic(
    url: str, name: str, partitions: int | None = None, retention: Retention | None = None
) -> TopicLog:
    """Open a topic; make it when it is missing.

    Args:
        url: Of the database.
        name: The topic's name.
        partitions: How many it shall have; more than there are are added, None takes it as it is.
        retention: How long it keeps its records; None leaves it as it is.

    Raises:
        Refused: The name is too long, or the topic has more partitions.
        Unavailable: The database is away.
    """
    return _open(url, tables.Wanted("topic", name, partitions, retention), TopicLog)


def open_landing(
    url: str, pipeline: str, name: str, retention: Retention | None = None
) -> LandingLog:
    """Open a landing; make it when it is missing.

    Args:
        url: Of the database.
        pipeline: Who owns it.
        name: The landing's name.
        retention: How long it keeps responses; None leaves it as it is.

    Raises:
        Refused: It belongs to another pipeline, or the name is too long.
        Unavailable: The database is away.
    """
    return _open(url, tables.Wanted("landing", name, 1, retention, pipeline), LandingLog)


def _open(url: str, wanted: tables.Wanted, kind: Callable[..., LogType]) -> LogType:
    session = connection.connect(url, name=f"log {wanted.name}")
    try:
        with stalls.attended(url):
            made = tables.make(session, wanted)
        return kind(url, made, session)
    except BaseException:
        session.close()
        raise
