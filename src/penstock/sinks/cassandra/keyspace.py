"""What must be in the cluster before a lane writes: keyspace, progress table, its own table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from penstock.errors import Refused, Rejected
from penstock.records import LaneKey
from penstock.sinks.cassandra import belonging, progress
from penstock.sinks.cassandra.address import Address
from penstock.sinks.cassandra.cql import quoted
from penstock.sinks.cassandra.session import Session
from penstock.sinks.cassandra.table import Change, Table, find, table_id

_KEYSPACE = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?"

T = TypeVar("T")

_PAUSES = (0.1, 0.3, 1.0, 3.0)


def plan(session: Session, address: Address, table: Table, lane: LaneKey) -> list[Change]:
    """Say what must be done so that the lane can write; nothing when all is there.

    Raises:
        Refused: Something cannot be made, or the table cannot be used as it is or belongs to
            another lane.
    """
    table.check()
    changes = []
    written = 0
    if not session.run(_KEYSPACE, [address.keyspace]):
        changes.append(_create(address, session.nodes))
    if table_id(session, address.keyspace, progress.TABLE) is None:
        create = progress.create_statement(address.keyspace)
        changes.append(Change(f"create table {progress.TABLE!r} for the lanes' progress", create))
    else:
        stands = progress.Ledger(session, address.keyspace, lane).read()
        written = sum(p.totals.written for p in stands.values())
    if table_id(session, address.keyspace, belonging.TABLE) is None:
        create = belonging.create_statement(address.keyspace)
        changes.append(
            Change(f"create table {belonging.TABLE!r} to note which lane writes a table", create)
        )
    relation = find(session, address.keyspace, table.name)
    if relation is not None:
        belonging.refuse_others(table, lane, belonging.writer(session, table))
    return changes + table.plan(relation, written, lane.lane)


def apply(session: Session, changes: Sequence[Change]) -> None:
    """Make the changes.

    Raises:
        Refused: The cluster does not let us; with the CQL for somebody whom it lets.
    """
    for change in changes:
        try:
            session.change(change.statement)
        except (Refused, Rejected) as error:
            raise Refused(
                f"cannot {change.words}: {error}\nLet somebody who may run: {change.statement};"
            ) from error


def patiently(prepare: Callable[[], T]) -> T:
    """Prepare tables, again where one that another lane has just created does not answer yet.

    Cassandra says that such a table is there a moment before it takes a statement for it.

    Raises:
        Refused: It is not a matter of a moment.
    """
    for pause in _PAUSES:
        try:
            return prepare()
        except Rejected:
            time.sleep(pause)
    try:
        return prepare()
    except Rejected as error:
        raise Refused(str(error)) from error


def _create(address: Address, nodes: int) -> Change:
    """Make the keyspace as the URL says; a cluster of one node can have but one copy."""
    replication = address.replication
    if replication is None and nodes > 1:
        example = _statement(address.keyspace, _copies(3))
        raise Refused(
            f"Cassandra at {address.url} has no keyspace {address.keyspace!r}. Add replication=3 "
            "(a number of copies) to the store's URL, so that Penstock creates it, or let "
            f"somebody run: {example};"
        )
    words = f"create keyspace {address.keyspace!r}"
    return Change(words, _statement(address.keyspace, replication or _copies(1)))


def _copies(number: int) -> Mapping[str, str]:
    return {"class": "NetworkTopologyStrategy", "replication_factor": str(number)}


def _statement(name: str, replication: Mapping[str, str]) -> str:
    options = ", ".join(
        f"'{key.replace(chr(39), chr(39) * 2)}': '{value}'" for key, value in replication.items()
    )
    return f"CREATE KEYSPACE IF NOT EXISTS {quoted(name)} WITH replication = {{{options}}}"
