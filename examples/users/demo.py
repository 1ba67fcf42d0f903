"""The example from end to end, in half a minute: what `make demo` runs.

It starts the imitation of the API with some trouble switched on, runs the pipeline live for a
while, proves that every record is accounted for, and shows rows and dead letters. Everything it
does are commands that you can type; it prints each. The exit code is 0 only when all balances.
"""

# ruff: noqa: S603 - every command is one of its own
from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PENSTOCK = (sys.executable, "-m", "penstock")
TROUBLE = "--fail-every 7 --limit-every 10 --cut-every 12 --html-every 15 --bad-every 150"
LIVE = "15s"
SAMPLE = """
    SELECT first_name, last_name, address, post_code, dob::date, date_added
    FROM warehouse.created_users ORDER BY date_added DESC, id LIMIT 6
"""
COUNTS = """
    SELECT (SELECT count(*) FROM landing.raw_users) AS responses,
           (SELECT count(*) FROM warehouse.created_users) AS "warehouse.created_users",
           (SELECT count(*) FROM serving.created_users) AS "serving.created_users",
           (SELECT count(*) FROM warehouse.women) AS "warehouse.women"
"""


def main() -> int:
    """Run the demonstration; return its exit code."""
    with api() as url, postgresql() as psql:
        settings = {
            "PENSTOCK_PROFILE": "embedded",
            "USERS_API": f"{url}?results=250",
            "USERS_EVERY": "500ms",
        }
        say(f"An API with trouble: {TROUBLE}")
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items()))
        os.environ.update(settings)

        say("The pipeline at work, live")
        ran = penstock("run", "users.py", "--for", LIVE)
        say("What it could not take")
        penstock("deadletters", "list")
        say("What is in the tables")
        query(psql, COUNTS)
        query(psql, SAMPLE)
        say("The proof: ledger and rows, one by one")
        proved = penstock("reconcile", "users.py", "--deep")

    say("To look further")
    print(f"cd {shlex.quote(os.path.relpath(HERE))}")
    print(f"{shlex.join(PENSTOCK)} services up embedded")
    print(shlex.join(psql))
    balanced = ran == proved == 0
    print("\nbalanced" if balanced else "\nNOT balanced: see above")
    return 0 if balanced else 1


@contextmanager
def api() -> Iterator[str]:
    """The imitation in a process of its own; gives its address."""
    command = [sys.executable, "api.py", *TROUBLE.split()]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()


@contextmanager
def postgresql() -> Iterator[list[str]]:
    """Keep the embedded PostgreSQL up between the commands; gives the `psql` line."""
    kept = services("status")["kept"]
    try:
        yield shlex.split(services("up")["psql"])
    finally:
        if not kept:
            services("down")


def services(verb: str) -> dict[str, Any]:
    command = [*PENSTOCK, "services", verb, "embedded", "--json"]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True, timeout=60)
    if verb != "status":
        done.check_returncode()
    [answer] = json.loads(done.stdout)["services"]
    return dict(answer)


def penstock(*arguments: str) -> int:
    """Run a command as a person would, and show it."""
    print(f"$ {shlex.join(['penstock', *arguments])}", flush=True)
    return subprocess.run([*PENSTOCK, *arguments], cwd=HERE, timeout=300).returncode


def query(psql: Sequence[str], statement: str) -> None:
    subprocess.run([*psql, "-P", "pager=off", "-c", statement], cwd=HERE, timeout=30, check=True)


def say(title: str) -> None:
    print(f"\n── {title} ──", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
