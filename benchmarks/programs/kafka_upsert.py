"""A topic that others write to table, upsert by a UUID."""

from user import Person

import penstock as ps

pipeline = ps.Pipeline("kafka_upsert")
pipeline.topic("people", Person).sink("people_upsert", store="warehouse")
