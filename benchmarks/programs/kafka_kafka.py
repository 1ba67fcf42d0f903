"""A topic that others write to a topic of a Kafka store, append."""

from user import Person

import penstock as ps

pipeline = ps.Pipeline("kafka_kafka")
pipeline.topic("people", Person).sink("people_out", store="events", mode="append")
