"""Compares a contract with the version before it: what changed, and what that breaks."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    _slot(path, was, now, changes)
    _type(path, was["type"], now["type"], changes)


def _slot(path: str, was: dict[str, Any], now: dict[str, Any], changes: Changes) -> None:
    """Compare nullability and constraints, of a field or of a list's elements."""
    if was["nullable"] and not now["nullable"]:
        changes.breaking.append(f"{path} was nullable and is not: older nulls do not fit")
    if now["nullable"] and not was["nullable"]:
        changes.compatible.append(f"{path} becomes nullable")
    gone = [c for c in was["constraints"] if c not in now["constraints"]]
    come = [c for c in now["constraints"] if c not in was["constraints"]]
    if come:
        changes.breaking.append(f"{path} has new constraints: older values may break them: {come}")
    elif gone:
        changes.compatible.append(f"{path} has fewer constraints")


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
        changes.breaking.append(f"{path} changes its digits from {was} to {now}")


def _choices(path: str, was: list[str], now: list[str], changes: Changes) -> None:
    if lost := [v for v in was if v not in now]:
        changes.breaking.append(f"{path} no longer allows {', '.join(lost)}")
    if won := [v for v in now if v not in was]:
        changes.compatible.append(f"{path} also allows {', '.join(won)}")
