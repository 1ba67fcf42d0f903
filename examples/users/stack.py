"""The example from end to end on real servers: what `make stack` runs.

It starts Kafka, a schema registry, Cassandra and PostgreSQL (those that do not run yet) and the
imitation of the API, runs the pipeline until it is idle, proves that every record is accounted
for, and shows the rows with clients that are not Penstock's. At the end it stops what it started.
The exit code is 0 only when all balances.
"""

# ruff: noqa: S603 - every command is one of its own
from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import urlsplit

from demo import HERE, PENSTOCK, TROUBLE, api, penstock, query, say

NAMES = ("kafka", "registry", "cassandra", "postgresql")
COUNTS = """
    SELECT (SELECT count(*) FROM landing.raw_users) AS raw_users,
           (SELECT count(*) FROM created_users) AS created_users,
           (SELECT count(*) FROM women) AS women
"""
ROWS = (
    "SELECT first_name, last_name, address, post_code, dob, date_added FROM created_users LIMIT 6"
)


def main(profile: str, names: Sequence[str]) -> int:
    """Run the demonstration; return its exit code.

    Args:
        profile: Of penstock.toml.
        names: The servers that it needs.
    """
    options = argparse.ArgumentParser(description="The example on real servers.")
    options.add_argument("--for", dest="live", default="15s", help="how long it runs live")
    live = options.parse_args().live
    with api() as url, services(names) as found:
        settings = {
            "PENSTOCK_PROFILE": profile,
            "USERS_API": f"{url}?results=250",
            "USERS_EVERY": "500ms",
        }
        say(f"An API with trouble: {TROUBLE}")
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items()))
        os.environ.update(settings)

        say("What a start will find and make")
        penstock("check", "users.py")
        say("The pipeline at work, live, and then until it is idle")
        ran = [penstock("run", "users.py", "--for", live)]
        ran += [penstock("run", "users.py", "--until-idle")]
        say("What it could not take")
        penstock("deadletters", "list", "--pipeline", "users")
        say("What is in PostgreSQL, by psql")
        psql = shlex.split(found["postgresql"]["psql"])
        query(psql, COUNTS)
        query(psql, ROWS)
        say("What is in Cassandra, by a CQL client")
        cql(found["cassandra"]["url"])
        say("The proof: ledger and rows, one by one")
        proved = penstock("reconcile", "users.py", "--deep")
    balanced = not any(ran) and proved == 0
    print("\nbalanced" if balanced else "\nNOT balanced: see above")
    return 0 if balanced else 1


@contextmanager
def services(names: Sequence[str]) -> Iterator[dict[str, dict[str, Any]]]:
    """Start the servers that do not run, and stop these at the end; gives all by name."""
    there = [name for name, server in ask("status", *names).items() if server["pid"]]
    mine = [name for name in names if name not in there]
    say("Starting real servers: the first time what they are made of is fetched, 300 MB")
    try:
        yield ask("up", *names)
    finally:
        if mine:
            ask("down", *mine)


def ask(verb: str, *names: str) -> dict[str, dict[str, Any]]:
    """Give a `penstock services` command; returns the servers' states by name."""
    command = [*PENSTOCK, "services", verb, *names, "--json"]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, timeout=900, check=True)
    return {server["name"]: server for server in json.loads(done.stdout)["services"]}


def cql(url: str) -> None:
    """Show the table as any CQL client sees it."""
    from cassandra.cluster import Cluster

    place = urlsplit(url)
    keyspace = os.environ.get("CASSANDRA_KEYSPACE", "spark_streams")
    with Cluster([place.hostname], port=place.port) as cluster:
        session = cluster.connect(keyspace)
        [count] = session.execute("SELECT count(*) FROM created_users").one()
        print(f"created_users has {count} rows; some of them:")
        for row in session.execute(ROWS):
            print(" | ".join(str(value) for value in row))


def run(profile: str, names: Sequence[str]) -> NoReturn:
    """Run the demonstration as a program; a command that failed has said why."""
    try:
        sys.exit(main(profile, names))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run("stack", NAMES)
