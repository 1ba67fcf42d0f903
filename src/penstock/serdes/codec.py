"""Codecs: how the values of a topic hold records. A codec belongs to a topic, not to a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from penstock import contract
from penstock.contract import ContractSpec, Decoded
from penstock.contract.decode import PLAIN
from penstock.interfaces import Framing
from penstock.profile import JSON

if TYPE_CHECKING:
    import polars as pl


class Codec(Protocol):
    """Encodes and decodes the values of one topic. Any thread may use it, several at once too.

    `decode` and `encode` do no I/O, so that a plan stays a pure function. What they need to know
    from a registry is learnt before: by `prepare` for records that were read, by `register` for
    rows that are to be written.
    """

    @property
    def format(self) -> str:
        """One of `penstock.profile.FORMATS`."""

    def prepare(self, records: pl.DataFrame) -> None:
        """Learn what decoding these records will need; called before the plan runs over them.

        Args:
            records: Of a log or of a replay; only the column `value` is looked at.

        Raises:
            Unavailable: The registry is away; the records are not lost, call again.
            Refused: The registry does not let this user in, or is none.
        """

    def decode(self, spec: ContractSpec, values: pl.Series, framing: Framing = ...) -> Decoded:
        """Decode values strictly, as `penstock.contract.decode` does for JSON.

        Args:
            spec: The contract.
            values: A Binary series without nulls, of records that were prepared.
            framing: How records lie in a value; only plain JSON has other than one in each.
        """

    def register(self, spec: ContractSpec) -> None:
        """Make the contract known as what is written to the topic; nothing if it is already.

        Raises:
            ContractError: The registry finds it incompatible with what was written before; names
                what breaks.
            Unavailable: The registry is away.
            Refused: The registry does not let this user in, or is none.
        """

    def preview(self, spec: ContractSpec) -> Sequence[str]:
        """Say what `register` would do, one sentence each; raises as it does, writes nothing."""

    def encode(self, spec: ContractSpec, rows: pl.DataFrame) -> pl.Series:
        """Encode each row as one value; the contract was registered before.

        Args:
            spec: The contract.
            rows: Its columns; others are ignored.

        Returns:
            A Binary series: `decode` reads it back as the same rows.
        """

    def to_json(self) -> Mapping[str, Any]:
        """What it has learnt, as plain data for another process; see `from_json`."""


class JsonCodec:
    """Plain JSON: each value is a document, and nobody needs to be asked."""

    format = JSON

    def prepare(self, records: pl.DataFrame) -> None:
        pass

    def decode(self, spec: ContractSpec, values: pl.Series, framing: Framing = PLAIN) -> Decoded:
        return contract.decode(spec, values, framing)

    def register(self, spec: ContractSpec) -> None:
        pass

    def preview(self, spec: ContractSpec) -> Sequence[str]:
        return ()

    def encode(self, spec: ContractSpec, rows: pl.DataFrame) -> pl.Series:
        return contract.encode(spec, rows)

    def to_json(self) -> Mapping[str, Any]:
        return {"format": JSON}


PLAIN_JSON = JsonCodec()
"""The codec of landings, and of topics where the profile names no other format."""

Codecs = Callable[[str], Codec]
"""From a topic's name to its codec."""


def plain(topic: str) -> Codec:
    """Plain JSON for every topic."""
    return PLAIN_JSON
