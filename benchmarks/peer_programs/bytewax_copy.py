"""Bytewax: NDJSON file -> decode -> PostgreSQL, by a hand-written sink that uses COPY.

Bytewax ships no PostgreSQL sink; this is its documented way (a DynamicSink). It commits each batch;
offsets and rows are not in one transaction, so a crash doubles rows. Run:
`python bytewax_copy.py FILE DSN checked|unchecked`.
"""

import os
import sys
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import psycopg
from bytewax import operators as op
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

COPY = "COPY peer FROM STDIN"
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Checked(msgspec.Struct):
    uid: UUID
    first_name: str
    last_name: str
    gender: Literal["female", "male"]
    address: str
    post_code: Text
    email: Annotated[str, msgspec.Meta(pattern=r"^[^@\s]+@[^@\s]+$")]
    username: str
    dob: Annotated[datetime, msgspec.Meta(tz=True)]
    registered_date: Annotated[datetime, msgspec.Meta(tz=True)]
    phone: str
    picture: str


class CopyPartition(StatelessSinkPartition):
    def __init__(self, dsn: str):
        self.connection = psycopg.connect(dsn)

    def write_batch(self, items):
        with self.connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for item in items:
                copy.write_row(item)
        self.connection.commit()

    def close(self):
        self.connection.close()


class CopySink(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return CopyPartition(os.environ["PEER_DSN"])


def decoder(checked: bool):
    if checked:
        decode = msgspec.json.Decoder(Checked).decode
        return lambda lines: [msgspec.structs.astuple(decode(line)) for line in lines]
    plain = msgspec.json.Decoder().decode
    return lambda lines: [tuple(plain(line).values()) for line in lines]


def main(path: str, dsn: str, mode: str) -> None:
    os.environ["PEER_DSN"] = dsn
    flow = Dataflow("peer")
    lines = op.input("lines", flow, FileSource(path, batch_size=10_000))
    rows = op.flat_map_batch("decode", lines, decoder(mode == "checked"))
    op.output("copy", rows, CopySink())
    run_main(flow)


if __name__ == "__main__":
    main(*sys.argv[1:])
