"""Where a reader of changes stands: the cursor that is landed with each response."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from penstock.errors import Refused
from penstock.interfaces import Cursor

Phase = Literal["begin", "read", "stream"]


@dataclass(frozen=True)
class Standing:
    """Where a reader stands, and in what database, slot, publication and table.

    Args:
        system: The database cluster's identifier.
        timeline: Its timeline; another one after a failover or a restore.
        slot: The slot's name.
        publication: Fingerprint of the publication and what it says of the table.
        table: The table's OID.
        key: Its key's columns.
        phase: `begin`: the slot may be there; `read`: it is, and the table is being read;
            `stream`: changes are.
        lsn: All transactions that ended up to here are landed; where the slot begins at first.
        after: While reading: values of the key of the row that was read last.
        final: Where the transaction commits that was landed in part; 0 for none.
        lines: How many of its lines are landed.
    """

    system: str
    timeline: int
    slot: str
    publication: str
    table: int
    key: tuple[str, ...]
    phase: Phase = "begin"
    lsn: int = 0
    after: tuple[str, ...] = ()
    final: int = 0
    lines: int = 0

    def cursor(self) -> Cursor:
        """As JSON."""
        return {
            **vars(self),
            "key": list(self.key),
            "after": list(self.after),
            "lsn": lsn_text(self.lsn),
            "final": lsn_text(self.final),
        }

    def at(self, lsn: int, final: int = 0, lines: int = 0) -> Standing:
        """Stand here in the stream."""
        return replace(self, phase="stream", lsn=lsn, after=(), final=final, lines=lines)


def standing(cursor: Cursor) -> Standing:
    """Read a cursor.

    Raises:
        Refused: It is no cursor of this kind of source.
    """
    try:
        given: dict[str, Any] = dict(cursor)
        for name in ("lsn", "final"):
            given[name] = lsn_number(given[name])
        for name in ("key", "after"):
            given[name] = tuple(given[name])
        return Standing(**given)
    except (TypeError, KeyError, ValueError):
        raise Refused(
            f"the cursor {cursor!r} was kept by another kind of source; land this one under a new "
            "name"
        ) from None


def lsn_text(lsn: int) -> str:
    """Write a place in the WAL as PostgreSQL does."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(lsn: str) -> int:
    """Read a place in the WAL; `ValueError` when it is none."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)
