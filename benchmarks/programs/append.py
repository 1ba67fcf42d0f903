"""Topic to table, append."""

from user import User

import penstock as ps

pipeline = ps.Pipeline("append")
pipeline.topic("users", User).sink("users_append", store="warehouse", mode="append")
