"""Compares a contract with the version before it: what changed, and what that breaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from penstock.contract.spec import ContractSpec


@dataclass
class Changes:
    """What a new version changes, one sentence each.

    Args:
        compatible: Readers and stored rows stay good.
        breaking: Records or rows of the old version do not fit the new one.
    """

    compatible: list[str] = field(default_factory=list)
    breaking: list[str] = field(default_factory=list)


def compare(old: dict[str, Any], new: ContractSpec) -> Changes:
    """Compare with what `to_json` of an older version gave."""
    changes = Changes()
    _fields("", old["fields"], new.to_json()["fields"], changes)
    return changes


def _fields(
    path: str, old: list[dict[str, Any]], new: list[dict[str, Any]], changes: Changes
) -> None:
    before = {f["name"]: f for f in old}
    after = {f["name"]: f for f in new}
    for name, was in before.items():
        if name not in after:
            changes.breaking.append(f"{path}{name} is removed: readers of it break")
        else:
            _field(f"{path}{name}", was, after[name], changes)
    for name, now in after.items():
        if name not in before:
            _added(f"{path}{name}", now, changes)


def _added(path: str, now: dict[str, Any], changes: Changes) -> None:
    if now["nullable"]:
        changes.compatible.append(f"{path} is added, nullable")
    else:
        changes.breaking.append(
            f"{path} is added and not nullable: older records lack it; write `| None`"
        )


def _field(path: str, was: dict[str, Any], now: dict[str, Any], changes: Changes) -> None:
    if was["json_name"] != now["json_name"]:
        changes.breaking.append(
            f"{path} was {was['json_name']!r} in JSON and is {now['json_name']!r}: "
            "older records lack it"
        )
    for mark in ("key", "born"):
        if was[mark] != now[mark]:
            verb = "becomes" if now[mark] else "is no longer"
            changes.breaking.append(f"{path} {verb} {mark}")
    _mask(path, was.get("mask"), now.get("mask"), changes)
    _slot(path, was, now, changes)
    _type(path, was["type"], now["type"], changes)


def _mask(
    path: str, was: dict[str, Any] | None, now: dict[str, Any] | None, changes: Changes
) -> None:
    """Compare how values are masked that are masked already; others are the reader's business."""
    before, after = (one if one and one["done"] else None for one in (was, now))
    if before == after:
        return
    ways = [f"masked by {one['way']}" if one else "not masked" for one in (before, after)]
    if ways[0] != ways[1]:
        changes.breaking.append(f"{path} was {ways[0]} and is {ways[1]}: older rows are unlike it")
    elif before and after and before["key"] != after["key"]:
        changes.compatible.append(
            f"{path} is masked with {after['key']}, no longer with {before['key']}: "
            "older values do not join with newer ones"
        )
    else:
        changes.compatible.append(f"{path} keeps other ends of what it masks")


def _slot(path: str, was: dict[str, Any], now: dict[str, Any], changes: Changes) -> None:
    """Compare nullability and constraints, of a field or of a list's elements."""
    if was["nullable"] and not now["nullable"]:
        changes.breaking.append(f"{path} was nullable and is not: older nulls do not fit")
    if now["nullable"] and not was["nullable"]:
        changes.compatible.append(f"{path} becomes nullable")
    _constraints(path, was["constraints"], now["constraints"], changes)


def _constraints(
    path: str, was: list[dict[str, Any]], now: list[dict[str, Any]], changes: Changes
) -> None:
    """A new constraint breaks unless an old one of its kind was at least as narrow."""
    come = [c for c in now if c not in was]
    narrow = [c for c in come if not any(_wider(old, c) for old in was)]
    for constraint in narrow:
        changes.breaking.append(f"{path} must now be {constraint['rule']}: older values may not be")
    if come and not narrow:
        changes.compatible.append(f"{path} has wider constraints")
    elif not come and len(now) < len(was):
        changes.compatible.append(f"{path} has fewer constraints")


def _wider(was: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether what obeyed the old constraint obeys the new one."""
    if was["kind"] != now["kind"]:
        return False
    if was["kind"] == "length":
        most = now["max"] is None or (was["max"] is not None and was["max"] <= now["max"])
        return bool(now["min"] <= was["min"] and most)
    if was["kind"] == "one_of":
        return set(was["values"]) <= set(now["values"])
    if was["kind"] == "range":
        return all(_looser(name, was.get(name), now.get(name)) for name in ("ge", "gt", "le", "lt"))
    return was == now


def _looser(name: str, was: str | None, now: str | None) -> bool:
    """Whether a bound moved outwards; only numbers are compared."""
    if now is None or was == now:
        return True
    try:
        return was is not None and (Decimal(now) <= Decimal(was)) == name.startswith("g")
    except InvalidOperation:  # dates: written alike, they compare as text
        return was is not None and (now <= was) == name.startswith("g")


def _type(path: str, was: dict[str, Any], now: dict[str, Any], changes: Changes) -> None:
    if was == now:
        return
    if was["kind"] != now["kind"]:
        changes.breaking.append(f"{path} was {was['kind']} and is {now['kind']}")
    elif was["kind"] == "nested":
        _fields(f"{path}.", was["fields"], now["fields"], changes)
    elif was["kind"] == "list":
        _slot(f"{path}.*", was, now, changes)
        _type(f"{path}.*", was["element"], now["element"], changes)
    elif was["kind"] == "choice":
        _choices(path, was["values"], now["values"], changes)
    else:
        _digits(path, was, now, changes)


def _digits(path: str, was: dict[str, Any], now: dict[str, Any], changes: Changes) -> None:
    words = (
        f"{path} had {was['precision']} digits, {was['scale']} after the point, "
        f"and has {now['precision']}, {now['scale']}"
    )
    more = now["scale"] - was["scale"]
    fits = more >= 0 and now["precision"] - was["precision"] >= more
    (changes.compatible if fits else changes.breaking).append(words)


def _choices(path: str, was: list[str], now: list[str], changes: Changes) -> None:
    if lost := [v for v in was if v not in now]:
        changes.breaking.append(f"{path} no longer allows {', '.join(lost)}")
    if won := [v for v in now if v not in was]:
        changes.compatible.append(f"{path} also allows {', '.join(won)}")


_TEXTS = {"str", "uuid", "date", "datetime", "choice", "bytes"}
_NUMBERS = {"int", "float"}
_EITHER = {"text", "decimal"}
"""Kinds that JSON writes as a text, as a number, or as one of both."""


def unreadable(written: dict[str, Any], read: ContractSpec) -> list[str]:
    """Say why no record of one contract fits another one, one sentence each; empty if some may.

    Args:
        written: What `to_json` of the contract gave that records are written by.
        read: The contract that they are read by; fields that it does not name are ignored.
    """
    found: list[str] = []
    _unreadable("", written["fields"], read.to_json()["fields"], found)
    return found


def _unreadable(
    path: str, written: list[dict[str, Any]], read: list[dict[str, Any]], found: list[str]
) -> None:
    there = {was["json_name"]: was for was in written}
    for now in read:
        name, was = f"{path}{now['name']}", there.get(now["json_name"])
        if was is None:
            if not (now["nullable"] or now["born"]):
                found.append(f"{name} is not written")
            continue
        before, after = was["type"], now["type"]
        if before["kind"] == after["kind"] == "nested":
            _unreadable(f"{name}.", before["fields"], after["fields"], found)
        elif not _alike(before["kind"], after["kind"]):
            found.append(f"{name} is written as {before['kind']} and read as {after['kind']}")


def _alike(written: str, read: str) -> bool:
    """Whether a value of one kind can be one of the other in JSON."""
    both = {written, read}
    return written == read or both <= _TEXTS | _EITHER or both <= _NUMBERS | _EITHER
