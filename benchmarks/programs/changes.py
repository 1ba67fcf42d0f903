"""Changes of a table of PostgreSQL into a topic."""

from user import User

import penstock as ps

pipeline = ps.Pipeline("changes")
source = ps.PostgresChanges(ps.env("SHOP"), table="users", publication="shop")
pipeline.source(source, User, land="users_changes").topic("users", partitions=2)
