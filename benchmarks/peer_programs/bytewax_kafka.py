"""Bytewax: Kafka topic -> decode -> PostgreSQL, by the hand-written sink of `bytewax_copy`.

Its own Kafka source, in batches, until the topic's end. Offsets are kept nowhere: it could recover
them from its snapshots, apart from the rows, so a crash doubles rows. Run:
`python bytewax_kafka.py KAFKA TOPIC ROWS DSN checked|unchecked`.
"""

import os
import sys

from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from bytewax_copy import CopySink, decoder


def main(kafka: str, topic: str, rows: str, dsn: str, mode: str) -> None:
    os.environ["PEER_DSN"] = dsn
    decode = decoder(mode == "checked")
    flow = Dataflow("peer")
    messages = op.input(
        "messages", flow, KafkaSource([kafka], [topic], tail=False, batch_size=10_000)
    )
    values = op.flat_map_batch("values", messages, lambda batch: decode([m.value for m in batch]))
    op.output("copy", values, CopySink())
    run_main(flow)


if __name__ == "__main__":
    main(*sys.argv[1:])
