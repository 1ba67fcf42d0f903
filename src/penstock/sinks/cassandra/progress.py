"""Where each lane stands, kept in the keyspace it writes to: `penstock_progress`.

All of it is moved by conditional writes (Paxos), which fence: they change a row only from the
very `next` and `epoch` that the writer was given. The partitions of a lane lie in one partition
of the table, so that several move together or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any

from cassandra.query import BatchStatement, BatchType

from penstock import faults
from penstock.errors import Fenced, Unavailable
from penstock.records import Counts, LaneKey, Position, Progress, Step
from penstock.sinks.cassandra import cql
from penstock.sinks.cassandra.session import Session

TABLE = "penstock_progress"
ATTEMPTS = 5

_COUNTS = tuple(f.name for f in fields(Counts))
_LANE = ("pipeline", "log_id", "segment", "lane")
_MOVED = ("next", *_COUNTS, "last_partition", "last_offset", "last_index", "plan", "tail")
_PLACE = (*_LANE, "partition")
_UNCHANGED = cql.same(("next", "epoch"))


class Ledger:
    """A lane's rows of the table.

    Args:
        session: To the cluster.
        keyspace: Where the table is.
        key: The lane.
    """

    def __init__(self, session: Session, keyspace: str, key: LaneKey) -> None:
        self._session = session
        self._table = f"{cql.quoted(keyspace)}.{TABLE}"
        self._key = key
        self._lane = (key.pipeline, key.log_id, key.segment, key.lane)

    def read(self) -> dict[int, Progress]:
        """Say where the lane stands in each partition, moves in flight included."""
        query = cql.select(self._table, ("partition", "epoch", *_MOVED), _LANE)
        rows = self._session.run_serial(query, self._lane)
        return {row["partition"]: _progress(row) for row in rows}

    def claim(self, epochs: Mapping[int, int]) -> dict[int, Progress]:
        """Raise the epoch of these partitions, all or none, and say where each stands.

        Raises:
            Fenced: A higher epoch is there already.
            Unavailable: Others claim at the same time, again and again.
        """
        for _ in range(ATTEMPTS):
            stands = self.read()
            if any(stands[p].epoch > epoch for p, epoch in epochs.items() if p in stands):
                raise self.fenced()
            if self._apply([self._raise(p, e, stands.get(p)) for p, e in epochs.items()]):
                return {
                    p: _with_epoch(stands.get(p, Progress(0, 0)), epoch)
                    for p, epoch in sorted(epochs.items())
                }
        raise Unavailable(f"others claim lane {self._key.lane!r} at the same time; trying again")

    def move(self, steps: Mapping[int, Step]) -> dict[int, Progress]:
        """Move the progress of these partitions, all or none.

        Raises:
            Fenced: The stored `next` or `epoch` is not the step's `before`.
            Unavailable: The outcome is unknown.
        """
        if not self._apply([self._move(p, step) for p, step in steps.items()]):
            raise self.fenced()
        return {p: _with_epoch(step.after, step.before.epoch) for p, step in steps.items()}

    def fenced(self) -> Fenced:
        """Build the error that says who lost what."""
        return Fenced(
            f"another process has taken over lane {self._key.lane!r} of pipeline "
            f"{self._key.pipeline!r}; this one stops writing to it"
        )

    def _raise(self, partition: int, epoch: int, stands: Progress | None) -> Any:
        place = (*self._lane, partition)
        if stands is None:
            text = cql.insert(self._table, (*_PLACE, "epoch", *_MOVED), "IF NOT EXISTS")
            values = (*place, epoch, *_values(Progress(0, epoch)))
        else:
            # a predecessor's last move may still come between the reading and this
            text = cql.update(self._table, ["epoch"], _PLACE, _UNCHANGED)
            values = (epoch, *place, stands.next, stands.epoch)
        return self._session.prepare(text).bind(values)

    def _move(self, partition: int, step: Step) -> Any:
        values = [*_values(step.after), *self._lane, partition]
        condition = "EXISTS"
        if faults.enabled("fencing"):
            condition = _UNCHANGED
            values += [step.before.next, step.before.epoch]
        text = cql.update(self._table, _MOVED, _PLACE, condition)
        return self._session.prepare(text).bind(values)

    def _apply(self, statements: Sequence[Any]) -> bool:
        if not statements:
            return True
        batch = BatchStatement(BatchType.UNLOGGED)
        for statement in statements:
            batch.add(statement)
        return all(row["[applied]"] for row in self._session.execute(batch))


def create_statement(keyspace: str) -> str:
    """The CQL that creates the table."""
    counts = ", ".join(f"{name} bigint" for name in _COUNTS)
    return (
        f"CREATE TABLE IF NOT EXISTS {cql.quoted(keyspace)}.{TABLE} (pipeline text, log_id text, "
        'segment text, lane text, "partition" int, "next" bigint, epoch bigint, '
        f"{counts}, last_partition int, last_offset bigint, last_index bigint, plan text, "
        'tail text, PRIMARY KEY ((pipeline, log_id, segment, lane), "partition"))'
    )


def _values(progress: Progress) -> tuple[Any, ...]:
    last = astuple(progress.last) if progress.last else (None, None, None)
    return (progress.next, *astuple(progress.totals), *last, progress.plan, progress.tail)


def _with_epoch(progress: Progress, epoch: int) -> Progress:
    return Progress(
        progress.next, epoch, progress.totals, progress.last, progress.plan, progress.tail
    )


def _progress(row: Mapping[str, Any]) -> Progress:
    last = None
    if row["last_offset"] is not None:
        last = Position(row["last_partition"], row["last_offset"], row["last_index"])
    totals = Counts(**{name: row[name] for name in _COUNTS})
    return Progress(row["next"], row["epoch"], totals, last, row["plan"], row["tail"])
