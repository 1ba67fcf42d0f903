"""The smallest useful pipeline, to time its first visible row."""

from user import User

import penstock as ps

pipeline = ps.Pipeline("start")
source = ps.Generator(User, rows=1)
users = pipeline.source(source, User, land="raw_start").topic("start")
users.sink("start_users", store="warehouse")
