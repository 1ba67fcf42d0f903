"""A steady trickle that others write, into two sinks."""

from user import Person

import penstock as ps

pipeline = ps.Pipeline("kafka_latency")
people = pipeline.topic("trickle", Person)
people.sink("trickle_people", store="warehouse")
people.sink("trickle_people", store="serving")
