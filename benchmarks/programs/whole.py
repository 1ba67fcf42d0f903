"""The whole way: generator, landing, topic, table."""

import os

from user import User

import penstock as ps

pipeline = ps.Pipeline("whole")
source = ps.Generator(User, rows=int(os.environ["ROWS"]))
users = pipeline.source(source, User, land="raw_generated").topic("generated", partitions=2)
users.sink("generated_users", store="warehouse")
