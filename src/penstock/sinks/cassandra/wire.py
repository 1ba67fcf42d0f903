"""Batches in Cassandra's own bytes: rows are packed in columns and sent as they are.

The driver binds values one by one, in Python; that costs more than everything else that the
client does. Its documented place to extend it is the protocol handler, which is used here.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from cassandra.protocol import BatchMessage, ProtocolHandler
from cassandra.query import BatchStatement, BatchType


class Rows:
    """Statements of a batch with their values, as the protocol has them.

    Args:
        count: How many statements.
        body: Their bytes, one after the other.
    """

    def __init__(self, count: int, body: memoryview) -> None:
        self.count = count
        self.body = body

    def __len__(self) -> int:
        return self.count


class PackedBatch(BatchStatement):  # type: ignore[misc]
    """An unlogged batch whose rows are packed already. Sending it twice is once: it is idempotent.

    Args:
        rows: What it holds.
    """

    def __init__(self, rows: Rows) -> None:
        super().__init__(BatchType.UNLOGGED)
        self.is_idempotent = True
        self._statements_and_parameters = rows


class _PackedMessage(BatchMessage):  # type: ignore[misc]
    def send_body(self, f: BinaryIO, protocol_version: int) -> None:
        rows: Rows = self.queries
        f.write(self.batch_type.value.to_bytes(1, "big") + rows.count.to_bytes(2, "big"))
        f.write(rows.body)
        f.write(self.consistency_level.to_bytes(2, "big") + b"\0")  # no flags


class Handler(ProtocolHandler):  # type: ignore[misc]
    """Writes packed batches; leaves everything else to the driver."""

    @classmethod
    def encode_message(cls, msg: Any, *args: Any, **options: Any) -> bytes:
        if isinstance(msg, BatchMessage) and isinstance(msg.queries, Rows):
            packed = _PackedMessage(msg.batch_type, msg.queries, msg.consistency_level)
            packed.tracing, packed.custom_payload = msg.tracing, msg.custom_payload
            msg = packed
        encoded: bytes = super().encode_message(msg, *args, **options)
        return encoded
