"""A topic in tiny micro-batches, to time what each of them costs."""

import os

from user import Person

import penstock as ps

pipeline = ps.Pipeline("spark_tiny")
pipeline.topic(os.environ["TOPIC"], Person).sink("tiny", store="warehouse", mode="append")
