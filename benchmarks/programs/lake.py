"""Topic to Parquet files."""

from user import User

import penstock as ps

pipeline = ps.Pipeline("lake")
pipeline.topic("users", User).sink("users", store="lake", mode="append")
