"""Dead letters on the screen and as JSON."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from penstock.cli import drawing, text
from penstock.cli.where import DEAD, STATES, Where
from penstock.contract.framing import cut
from penstock.errors import Refused
from penstock.home import deadletters, programs
from penstock.interfaces import Framing
from penstock.records import WHOLE, Position

if TYPE_CHECKING:
    from rich.console import RenderableType

    from penstock.home.database import Cursor
    from penstock.home.deadletters import CauseGroup, Shown
    from penstock.home.replays import Replayed

EXPLODED = 1 << 20
"""Indexes from here on are those of rows that `explode` made."""

_MOST_SHOWN = 2_000
"""Bytes of a record on the screen."""


@dataclass(frozen=True)
class Found:
    """A letter, and the bytes of the one record in it that is dead."""

    shown: Shown
    record: bytes | None


def read(cursor: Cursor, pipeline: str, chosen: Where, most: int) -> list[Found]:
    """Read letters whole."""
    states = STATES if chosen.letters or chosen.position else DEAD
    selection = chosen.selection(cursor, pipeline)
    lines = deadletters.find(cursor, selection, states=states, most=most)
    missing = set(chosen.letters) - {line.id for line in lines}
    if missing and len(lines) < most:
        raise Refused(
            f"pipeline {pipeline!r} has no letter {min(missing)} of this choice; "
            "`penstock deadletters list` shows what there is"
        )
    framings = programs.framings(cursor, pipeline)
    shown = [deadletters.show(cursor, pipeline, line.id) for line in lines]
    return [Found(one, piece(one, framings.get(one.line.segment, Framing()))) for one in shown]


def piece(letter: Shown, framing: Framing) -> bytes | None:
    """Cut the record out of the response that it came in; the response where that cannot be."""
    index = letter.line.position.index
    if letter.value is None or index == WHOLE:
        return letter.value
    pieces = cut(pl.Series([letter.value], dtype=pl.Binary), framing)
    # An index after `explode` counts elements of a record: the record is what can be cut out.
    number = index if index < EXPLODED else (index >> 20) - 1
    found = dict(zip(pieces.indexes, pieces.documents, strict=True))
    return found.get(number, letter.value)


def place(position: Position) -> str:
    """Write a position as `where` reads it: partition:offset:index."""
    index = "" if position.index == WHOLE else f":{position.index}"
    return f"{position.partition}:{position.offset}{index}"


def groups(pipeline: str, found: Sequence[CauseGroup]) -> dict[str, Any]:
    """The groups as `deadletters list --json` prints them."""
    return {
        "pipeline": pipeline,
        "causes": [
            {
                "cause": group.id,
                "segment": group.segment,
                "stage": group.cause.stage,
                "rule": group.cause.rule,
                "field": group.cause.field,
                "value": group.cause.value,
                "lanes": list(group.lanes),
                "states": dict(group.states),
                "first": group.first.isoformat(),
                "last": group.last.isoformat(),
            }
            for group in found
        ],
    }


def drawn_groups(found: Sequence[CauseGroup]) -> RenderableType:
    """The groups for people."""
    from rich.console import Group

    if not found:
        return "no dead letters"
    states = [state for state in STATES if any(state in group.states for group in found)]
    table = drawing.table(
        "cause",
        *states,
        "segment",
        "stage",
        "field",
        "rule",
        "for example",
        "lanes",
        right=("cause", *states),
        wrap=("rule", "for example", "lanes"),
    )
    for group in found:
        cause = group.cause
        words = (group.segment, cause.stage, cause.field, cause.rule, text.line(cause.value))
        figures = [text.count(group.states.get(state, 0)) for state in states]
        cells = map(drawing.words, (*words, ", ".join(group.lanes)))
        table.add_row(str(group.id), *figures, *cells)
    first = found[0].id
    hint = (
        f"penstock deadletters show cause={first}               the letters of a cause\n"
        f"penstock deadletters preview PROGRAM cause={first}    what would pass now\n"
        f"penstock deadletters replay cause={first}             send them back\n"
        f"penstock deadletters discard cause={first} --reason … give them up"
    )
    return Group(table, drawing.words(""), drawing.words(hint, "dim"))


def documents(pipeline: str, found: Sequence[Found]) -> dict[str, Any]:
    """Letters as `deadletters show --json` prints them; bytes are base64."""
    return {"pipeline": pipeline, "letters": [_document(letter) for letter in found]}


def _document(found: Found) -> dict[str, Any]:
    letter, line = found.shown, found.shown.line
    return {
        "letter": line.id,
        "state": line.state,
        "segment": line.segment,
        "lane": line.lane,
        "log": letter.log_id,
        "partition": line.position.partition,
        "offset": line.position.offset,
        "index": line.position.index,
        "cause": line.group,
        "stage": line.cause.stage,
        "rule": line.cause.rule,
        "field": line.cause.field,
        "value": line.cause.value,
        "detail": line.cause.detail,
        "born": letter.born.isoformat(),
        "key_base64": _base64(letter.key),
        "record_base64": _base64(found.record),
        "value_base64": _base64(letter.value),
        "headers_base64": _base64(letter.headers),
        "history": [
            {"what": h.what, "at": h.at.isoformat(), "letter": h.letter, "who": h.who, "why": h.why}
            for h in letter.history
        ],
    }


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def drawn_letters(found: Sequence[Found], limit: int) -> RenderableType:
    """Letters for people, one below the other."""
    if not found:
        return "no dead letters of this choice"
    more = f"\n(the first {limit}; --limit shows more)" if len(found) == limit else ""
    return drawing.words("\n\n".join(map(_letter, found)) + more)


def _letter(found: Found) -> str:
    letter, line, cause = found.shown, found.shown.line, found.shown.line.cause
    facts = [
        ("lane", line.lane),
        ("position", f"{place(line.position)} of {line.segment}, born {letter.born:%F %T} UTC"),
        ("cause", f"{line.group}: {text.line(' '.join(filter(None, (cause.stage, cause.rule))))}"),
        ("field", text.line(cause.field)),
        ("value", text.line(cause.value)),
        ("key", "" if letter.key is None else text.escaped(letter.key, _MOST_SHOWN)),
        ("record", text.escaped(found.record, _MOST_SHOWN) or "(empty)"),
        ("headers", _headers(letter.headers)),
        ("traceback", _block(cause.detail)),
        ("history", "\n           ".join(_happening(h) for h in letter.history)),
    ]
    head = f"letter {line.id}, {line.state}"
    return "\n".join([head, *(f"{name:>10} {fact}" for name, fact in facts if fact)])


def _headers(headers: bytes | None) -> str:
    """Headers are a JSON array of names and base64 values."""
    if headers is None:
        return ""
    pairs = ((str(name), base64.b64decode(value or "")) for name, value in json.loads(headers))
    return ", ".join(f"{text.line(name)}: {text.escaped(value, 200)}" for name, value in pairs)


def _happening(happening: deadletters.Happening) -> str:
    words = [f"{happening.at:%F %T}", happening.what]
    if happening.who:
        words.append(f"by {text.line(happening.who)}")
    if happening.why:
        words.append(f"({text.line(happening.why)})")
    return " ".join(words)


def _block(words: str) -> str:
    return "\n           ".join(text.line(part) for part in words.splitlines())


def write_raw(found: Sequence[Found]) -> None:
    """Write the first letter's record to stdout, byte for byte."""
    if not found:
        raise Refused("no dead letters of this choice")
    sys.stdout.buffer.write(found[0].record or b"")
    sys.stdout.buffer.flush()


def drawn_replay(sent: Replayed) -> str:
    """What a replay did, for people."""
    words = f"sent {text.count(sent.letters)} letters back; the pipeline takes them when it runs"
    if sent.left:
        words += (
            f"\n{text.count(sent.left)} letters stay: their lane is no longer in the program, or "
            "their log was re-created"
        )
    return words
