"""Writes 1,000 made-up payments to the topic, as another program would."""

from pipeline import Payment

import penstock as ps

pipeline = ps.Pipeline("@writer@")
source = ps.Generator(Payment, rows=1000)
pipeline.source(source, Payment, land="raw_payments").topic("payments", partitions=2)
