"""Pathway: NDJSON file -> its own PostgreSQL connector, in static mode.

Checked means the same three checks and types, as filters and parsing in Pathway's own expressions.
Run: `python pathway_postgres.py FILE HOST DBNAME USER checked|unchecked`.
"""

import sys

import pathway as pw


class Row(pw.Schema):
    uid: str
    first_name: str
    last_name: str
    gender: str
    address: str
    post_code: str
    email: str
    username: str
    dob: str
    registered_date: str
    phone: str
    picture: str


ZONED = "%Y-%m-%dT%H:%M:%S%z"


def check(table: pw.Table) -> pw.Table:
    at = pw.this.email.str.find("@")
    return table.filter(
        ((pw.this.gender == "female") | (pw.this.gender == "male"))
        & (at > 0)
        & (pw.this.post_code != "")
        & (pw.this.uid.str.len() == 36)
    ).with_columns(
        dob=pw.this.dob.str.replace("Z", "+0000").dt.strptime(ZONED),
        registered_date=pw.this.registered_date.str.replace("Z", "+0000").dt.strptime(ZONED),
    )


def write(table: pw.Table, host: str, dbname: str, user: str) -> None:
    settings = {"host": host, "port": "5432", "dbname": dbname, "user": user, "password": "none"}
    pw.io.postgres.write(table, settings, "peer", init_mode="replace", max_batch_size=10_000)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


def main(path: str, host: str, dbname: str, user: str, mode: str) -> None:
    table = pw.io.jsonlines.read(path, schema=Row, mode="static")
    write(check(table) if mode == "checked" else table, host, dbname, user)


if __name__ == "__main__":
    main(*sys.argv[1:])
