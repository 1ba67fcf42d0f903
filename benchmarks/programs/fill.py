"""Fill the topic that `append` and `upsert` read."""

from user import User

import penstock as ps

pipeline = ps.Pipeline("fill")
lines = pipeline.source(ps.Files(ps.env("RECORDS")), User, land="raw_users")
lines.topic("users", partitions=2)
