"""Bursts that others write, into a table."""

from user import Person

import penstock as ps

pipeline = ps.Pipeline("spark_bursts")
pipeline.topic("trickle", Person).sink("bursts", store="warehouse")
