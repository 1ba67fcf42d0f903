"""Which keys a pipeline's fields were masked with: a changed one is noticed before it masks.

Kept is a value that shows whether a key is the same and says nothing of it, beside the contracts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from penstock.contract import masking
from penstock.errors import ContractError
from penstock.home.database import Cursor

if TYPE_CHECKING:
    from penstock.plan import Segment

_NAME = "mask key "


def changed(cursor: Cursor, pipeline: str, segments: Sequence[Segment]) -> list[str]:
    """Say which keys are others than at the last start, one sentence each; writes nothing.

    Raises:
        ProfileError: A key is not in the environment.
    """
    known = _known(cursor, pipeline)
    return [
        f"{name} holds another key than at the last start: what it masks would no longer be equal "
        "to what was masked before, so keys and joins break. Set the old key; or, if the change is "
        f'meant, give it a name of its own: key=ps.env("{name}_2")'
        for name, value in _keys(segments)
        if known.get(name, value) != value
    ]


def admit(cursor: Cursor, pipeline: str, segments: Sequence[Segment]) -> None:
    """Keep what later starts are compared with.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose program.
        segments: All of it.

    Raises:
        ContractError: A key was changed under its name.
        ProfileError: A key is not in the environment.
    """
    if complaints := changed(cursor, pipeline, segments):
        raise ContractError("\n".join(complaints))
    known = _known(cursor, pipeline)
    cursor.executemany(
        "INSERT INTO penstock.contracts (pipeline, name, version, fingerprint, contract)"
        " VALUES (%s, %s, 1, %s, %s)",
        [
            (pipeline, f"{_NAME}{name}", value, Jsonb({}))
            for name, value in _keys(segments)
            if name not in known
        ],
    )


def _keys(segments: Sequence[Segment]) -> Iterator[tuple[str, str]]:
    found: dict[str, str] = {}
    for segment in segments:
        found.update(masking.keys(segment.spec))
    yield from found.items()


def _known(cursor: Cursor, pipeline: str) -> dict[str, str]:
    cursor.execute(
        "SELECT name, fingerprint FROM penstock.contracts"
        " WHERE pipeline = %s AND starts_with(name, %s)",
        [pipeline, _NAME],
    )
    return {name.removeprefix(_NAME): value for name, value in cursor}
