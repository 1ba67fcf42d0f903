"""A topic that others write to Cassandra."""

from user import Person

import penstock as ps

pipeline = ps.Pipeline("kafka_cassandra")
pipeline.topic("people", Person).sink("people", store="wide")
