"""A record that kills the process is found in a child process and becomes a dead letter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg

from penstock.services.postgresql import EmbeddedPostgresql

DEADLY = Path(__file__).parent / "programs" / "deadly.py"


def test_the_record_is_buried_after_three_deaths(tmp_path: Path) -> None:
    people = tmp_path / "people.ndjson"
    lines = [json.dumps({"number": n, "name": f"p{n}"}) + "\n" for n in range(40)]
    people.write_text("".join(lines))
    environment = {**os.environ, "DEADLY": "p17", "PEOPLE": str(people)}
    command = [sys.executable, "-m", "penstock", "run", str(DEADLY), "--until-idle"]
    with EmbeddedPostgresql(tmp_path / ".penstock").session() as url:
        codes = [
            subprocess.run(command, cwd=tmp_path, env=environment, timeout=60).returncode
            for _ in range(4)
        ]
        with psycopg.connect(url) as session:
            rows = session.execute("SELECT count(*) FROM warehouse.people").fetchone()
            rule = session.execute("SELECT rule FROM penstock.dead_letters").fetchall()
    assert codes == [9, 9, 9, 0]
    # the lines are one response, and that is what is buried
    assert rows == (0,)
    assert rule == [("the process died of the record",)]
