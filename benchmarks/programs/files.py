"""Files into a landing and on into a table: what `RECORDS` names, in the format `FORMAT`."""

import os

from user import User

import penstock as ps

pipeline = ps.Pipeline("files")
source = ps.Files(ps.env("RECORDS"), format=os.environ.get("FORMAT", "ndjson"))
pipeline.source(source, User, land="raw_files").sink("users", store="warehouse", mode="append")
