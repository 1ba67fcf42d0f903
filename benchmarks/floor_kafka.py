"""The bare loop of confluent-kafka from topic to topic: consume in batches, produce, commit."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, Producer, TopicPartition

BATCH = 10_000
"""Messages of one transaction; Penstock's micro-batches are about as large."""


def rate(kafka: str, source: str, target: str, count: int, partitions: int) -> float:
    """Copy all records, exactly once as Kafka's own way does it; returns records per second.

    Offsets are sent in the transaction of the records. Nothing is decoded or checked.

    Args:
        kafka: `host:port` of the broker.
        source: Read from its start.
        target: Is there.
        count: How many records there are.
        partitions: Of the source.
    """
    settings = {"bootstrap.servers": kafka}
    consumer = Consumer({**settings, "group.id": target, "enable.auto.commit": False,
                         "isolation.level": "read_committed"})  # fmt: skip
    producer = Producer({**settings, "transactional.id": target, "compression.type": "lz4",
                         "linger.ms": 5, "queue.buffering.max.messages": 0,
                         "batch.size": 1 << 20})  # fmt: skip
    consumer.assign([TopicPartition(source, number, 0) for number in range(partitions)])
    producer.init_transactions(30)
    begun, done = time.perf_counter(), 0
    while done < count:
        messages = consumer.consume(BATCH, 0.5)
        if not messages:
            continue
        producer.begin_transaction()
        for message in messages:
            producer.produce(target, message.value(), message.key())
        places = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata())
        producer.commit_transaction(30)
        done += len(messages)
    seconds = time.perf_counter() - begun
    consumer.close()
    return count / seconds
