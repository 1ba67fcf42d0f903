"""Topic to table, upsert by a UUID."""

from user import User

import penstock as ps

pipeline = ps.Pipeline("upsert")
pipeline.topic("users", User).sink("users_upsert", store="warehouse")
