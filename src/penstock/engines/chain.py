"""Whether a topic was given what the lane that writes it says that it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.logs.paging import pages

if TYPE_CHECKING:
    from penstock.home.database import Cursor
    from penstock.interfaces import Log


def given(topic: Log, *, gapless: bool, deep: bool) -> tuple[int, int]:
    """Count the records that a topic was ever given: the least and the most it can be.

    Args:
        topic: The topic.
        gapless: Whether each offset holds a record.
        deep: Whether to count one by one where the offsets do not tell.

    Raises:
        Unavailable: The log is away.
    """
    spans = topic.spans()
    ends = sum(span.end for span in spans.values())
    if gapless:
        return ends, ends
    if not deep:
        return 0, ends
    found = sum(frame.height for frame in pages(topic))
    return found, found + sum(span.start for span in spans.values())


def made_anew(cursor: Cursor, pipeline: str, topic: str, log_id: str) -> bool:
    """Whether a pipeline has known another topic of this name.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose.
        topic: The topic's name.
        log_id: Its identity now.
    """
    cursor.execute(
        "SELECT EXISTS (SELECT FROM penstock.lanes"
        " WHERE pipeline = %s AND segment = %s AND log_id NOT IN (%s, %s))",
        [pipeline, topic, log_id, f"replay:{log_id}"],
    )
    return bool(next(iter(cursor))[0])
