"""How records lie in files: where they end, and what comes before the first one. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from penstock.contract.delimited import first_record, whole_records
from penstock.errors import Refused
from penstock.interfaces import Framing
from penstock.sources.declared import require

_LONGEST_LINE = 256 * 1024 * 1024
_LONGEST_RECORD = 16 * 1024 * 1024


class Form(Protocol):
    """Of files that are read in pieces of whole records, byte for byte."""

    @property
    def framing(self) -> Framing:
        """How records lie in a piece."""

    def whole(self, body: bytes | bytearray, seen: int) -> int:
        """How many bytes are whole records, whatever follows; the first `seen` were asked before.

        Raises:
            Refused: A record is too long.
        """

    def head(self, beginning: bytes) -> int | None:
        """How many bytes come before the records; None when they are not all there yet."""


class Lines:
    """Each line is a record."""

    framing = Framing(lines=True)

    def whole(self, body: bytes | bytearray, seen: int) -> int:
        end = body.rfind(b"\n", seen) + 1
        if not end and len(body) > _LONGEST_LINE:
            raise Refused(f"a line is over {_LONGEST_LINE:,} bytes")
        return end

    def head(self, beginning: bytes) -> int:
        return 0


@dataclass(frozen=True)
class Csv:
    r"""CSV as RFC 4180 has it: a header line with the names of the columns, then records.

    Args:
        delimiter: The character between two fields.
        null: The text of a field that is null, where the contract's field may be null.
        columns: The names of the columns, for files without a header line.

    Example:
        `ps.Files("inbox/*.csv", format=ps.Csv(delimiter=";", null=r"\N"))`
    """

    delimiter: str = ","
    null: str = ""
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(
            len(self.delimiter) == 1 and self.delimiter not in '"\r\n\ufeff',
            f"delimiter={self.delimiter!r} is none: write one character, such as ',' or '\\t'",
        )
        require(
            not isinstance(self.columns, str) and all(self.columns),
            f"columns={self.columns!r} are no names: write them as in columns=('id', 'name')",
        )
        object.__setattr__(self, "columns", tuple(self.columns))

    @property
    def framing(self) -> Framing:
        """How records lie in a piece."""
        return Framing(delimiter=self.delimiter, columns=self.columns, null=self.null)

    def whole(self, body: bytes | bytearray, seen: int) -> int:
        """How many bytes are whole records, whatever follows.

        A quote that is not closed for 16 MiB is wrong: its line alone is taken, as a dead letter.
        """
        end = whole_records(bytes(body), self.delimiter)
        return body.find(b"\n") + 1 if not end and len(body) > _LONGEST_RECORD else end

    def head(self, beginning: bytes) -> int | None:
        """How many bytes the header has; None when it is not whole yet."""
        return 0 if self.columns else first_record(beginning, self.delimiter) or None
