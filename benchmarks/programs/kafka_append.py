"""A topic that others write to table, append."""

from user import Person

import penstock as ps

pipeline = ps.Pipeline("kafka_append")
pipeline.topic("people", Person).sink("people_append", store="warehouse", mode="append")
