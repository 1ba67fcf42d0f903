"""What a task says of the slices of a micro-batch that it has worked on, as bytes for Arrow."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from penstock import errors
from penstock.engines.part import Tail
from penstock.errors import PenstockError, Unavailable
from penstock.plan import BATCH_SCHEMA, LaneOutcome, MicroBatch, Outcome, row_schema
from penstock.records import Counts, Letter, Receipt, Span

if TYPE_CHECKING:
    from penstock.plan import Segment

SCHEMA = "slip binary"
"""Of what a task yields, as Spark writes it."""


@dataclass(frozen=True)
class Share:
    """What a slice gives to one lane.

    Args:
        counts: For each partition.
        rows: The rows; none when they are staged.
        receipt: Of rows that the task staged.
        born: Of rows that the task staged, `_partition` and `_born`.
    """

    counts: dict[int, Counts]
    rows: bytes = b""
    receipt: Receipt | None = None
    born: bytes = b""


@dataclass(frozen=True)
class Slip:
    """What became of one slice.

    Args:
        spans: From the first to the last record that it had of each partition.
        tails: The last record of each.
        size: Bytes of its values.
        shares: For each lane that takes part.
        letters: The dead letters.
        records: The records that they are about.
        error: Why there is nothing else: class and words.
    """

    spans: dict[int, Span] = field(default_factory=dict)
    tails: dict[int, Tail] = field(default_factory=dict)
    size: int = 0
    shares: dict[str, Share] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    records: bytes = b""
    error: tuple[str, str] | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Slip)


def encoded(slip: Slip) -> bytes:
    """Write a slip as bytes."""
    return _ENCODER.encode(slip)


def failed(error: PenstockError) -> bytes:
    """Write an error as a slip."""
    return encoded(Slip(error=(type(error).__name__, str(error))))


def frame_bytes(frame: pl.DataFrame) -> bytes:
    """Write a frame as bytes; one without rows is empty."""
    if not frame.height:
        return b""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression="lz4")
    return buffer.getvalue()


def read(found: Iterable[bytes]) -> list[Slip]:
    """Read what the tasks of a micro-batch said.

    Raises:
        PenstockError: As a task raised it.
    """
    slips = [_DECODER.decode(one) for one in found]
    for slip in slips:
        if slip.error is not None:
            raise _error(*slip.error)
    return slips


def _error(name: str, words: str) -> PenstockError:
    kind = getattr(errors, name, Unavailable)
    return kind(words) if kind is not errors.CheckError else errors.Refused(words)


@dataclass(frozen=True)
class Gathered:
    """The slips of a micro-batch, together.

    Args:
        segment: Whose micro-batch.
        spans: Its bounds.
        slips: From every task.

    Raises:
        Unavailable: The slices overlap or lie outside of the bounds: a task's work is there twice.
    """

    segment: Segment
    spans: Mapping[int, Span]
    slips: Sequence[Slip]

    def __post_init__(self) -> None:
        for partition, bounds in self.spans.items():
            reached = bounds.start
            for span in sorted(
                (s.spans[partition] for s in self.slips if partition in s.spans),
                key=lambda span: span.start,
            ):
                if span.start < reached or span.end > bounds.end:
                    raise Unavailable(
                        f"Spark gave offsets {span.start} to {span.end} of partition {partition} "
                        f"of {self.segment.name!r} twice or unasked; trying again"
                    )
                reached = span.end

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return sum(slip.size for slip in self.slips)

    @property
    def tails(self) -> dict[int, Tail]:
        """For each partition the last record."""
        found: dict[int, Tail] = {}
        for slip in self.slips:
            for partition, tail in slip.tails.items():
                if partition not in found or found[partition][0].offset < tail[0].offset:
                    found[partition] = tail
        return found

    @property
    def micro(self) -> MicroBatch:
        """The bounds, and the records that letters are about."""
        records = _frame((slip.records for slip in self.slips), BATCH_SCHEMA)
        return MicroBatch(self.spans, records.sort("partition", "offset"))

    def outcome(self, starts: Mapping[str, Mapping[int, int]]) -> Outcome:
        """Put together what the micro-batch gives to each lane.

        Args:
            starts: For each lane that takes part where it stands.
        """
        lanes = {name: self._lane(name, at) for name, at in starts.items()}
        return Outcome(lanes, [letter for slip in self.slips for letter in slip.letters])

    def _lane(self, name: str, starts: Mapping[int, int]) -> LaneOutcome:
        shares = [slip.shares[name] for slip in self.slips]
        rows = _frame(
            (share.rows for share in shares), row_schema(self.segment.lane(name).spec)
        ).sort("_partition", "_offset", maintain_order=True)
        return LaneOutcome(
            rows,
            {p: self._counts(p, span, shares, starts) for p, span in self.spans.items()},
            [share.receipt for share in shares if share.receipt is not None],
            _frame((share.born for share in shares), row_schema(self.segment.spec)),
        )

    def _counts(
        self, partition: int, span: Span, shares: Sequence[Share], starts: Mapping[int, int]
    ) -> Counts:
        """Add up; what no slice held, and the lane has not passed, is absent."""
        counts = sum((s.counts.get(partition, Counts()) for s in shares), Counts())
        start = min(max(starts.get(partition, span.start), span.start), span.end)
        return replace(counts, absent=span.end - start - counts.records)


def _frame(found: Iterable[bytes], schema: pl.Schema) -> pl.DataFrame:
    frames = [pl.read_ipc_stream(io.BytesIO(one)) for one in found if one]
    return pl.concat(frames) if frames else schema.to_frame()
