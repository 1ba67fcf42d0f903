"""Composes CQL: names are always quoted, values always bound."""
# ruff: noqa: S608 -- see above

from __future__ import annotations

from collections.abc import Sequence


def quoted(name: str) -> str:
    """Quote an identifier; any name will do."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Sequence[str]) -> str:
    """Quote identifiers and put commas between them."""
    return ", ".join(map(quoted, names))


def same(names: Sequence[str], between: str = " AND ") -> str:
    """Compose `"a" = ?` for each name."""
    return between.join(f"{quoted(name)} = ?" for name in names)


def insert(table: str, names: Sequence[str], suffix: str) -> str:
    """Compose an INSERT of these columns into a table, whose name is quoted already."""
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({listed(names)}) VALUES ({marks}) {suffix}"


def update(table: str, changes: Sequence[str], key: Sequence[str], condition: str) -> str:
    """Compose an UPDATE of these columns, for one key, under a condition."""
    where = f"WHERE {same(key)} IF {condition}"
    return f"UPDATE {table} SET {same(changes, ', ')} {where}"


def delete(table: str, key: Sequence[str]) -> str:
    """Compose a DELETE: its time stamp comes before the key."""
    return f"DELETE FROM {table} USING TIMESTAMP ? WHERE {same(key)}"


def select(table: str, names: Sequence[str], key: Sequence[str] = ()) -> str:
    """Compose a query of these columns, of the whole table or of a key."""
    where = f" WHERE {same(key)}" if key else ""
    return f"SELECT {listed(names)} FROM {table}{where}"
