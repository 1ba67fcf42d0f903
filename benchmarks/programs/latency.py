"""A steady trickle through landing and topic into two sinks."""

import os

from user import User

import penstock as ps

pipeline = ps.Pipeline("latency")
source = ps.Generator(User, rate=float(os.environ["RATE"]))
partitions = int(os.environ.get("PARTITIONS", "4"))
users = pipeline.source(source, User, land="raw_trickle").topic("trickle", partitions=partitions)
users.sink("trickle_users", store="warehouse")
users.sink("trickle_users", store="serving")
