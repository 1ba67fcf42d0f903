"""What a user would pick instead, each in a virtual environment of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks.records import TABLE_COLUMNS

FOLDER = Path(__file__).parent / "peer_programs"
ENVIRONMENTS = Path(__file__).parent / ".peers"


@dataclass(frozen=True)
class Peer:
    """A peer, what it needs, and how its program is called.

    Args:
        name: Its name, also that of its package.
        program: In `peer_programs`; called with a source, a database and a mode.
        requirements: What is installed for it.
        note: What to know about its figure.
        by_parts: Whether it is told the database's host, name and user in place of a URL.
        most: So many records at most, since it is slow.
    """

    name: str
    program: str
    requirements: tuple[str, ...]
    note: str
    by_parts: bool = False
    most: int | None = None

    @property
    def python(self) -> Path:
        """The interpreter of its environment, made on first use or when its needs change."""
        folder = ENVIRONMENTS / self.name.lower().replace(" ", "")
        python, made = folder / "bin" / "python", folder / "requirements"
        wanted = "\n".join(self.requirements)
        if not made.exists() or made.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", *self.requirements], check=True
            )
            made.write_text(wanted)
        return python

    def version(self) -> str:
        """The version that runs here."""
        package = self.name.lower().replace(" ", "")
        code = f"import importlib.metadata as m; print(m.version('{package}'))"
        return subprocess.run(
            [self.python, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()

    def database(self, url: str) -> list[str]:
        """How its program is told the database."""
        if not self.by_parts:
            return [url]
        parts = conninfo_to_dict(url)
        return [str(parts[name]) for name in ("host", "dbname", "user")]


_BYTEWAX = (
    "bytewax==0.21.1",
    "confluent-kafka==2.16.0",
    "psycopg[binary]==3.3.9",
    "msgspec==0.22.0",
)
_PATHWAY = ("pathway==0.33.0",)
_QUIX = ("quixstreams[postgresql]==3.28.0",)

FROM_FILE = (
    Peer(
        "Bytewax",
        "bytewax_copy.py",
        _BYTEWAX,
        "reads a file, not a log; hand-written COPY sink, rows and offsets apart; append",
    ),
    Peer(
        "Pathway",
        "pathway_postgres.py",
        _PATHWAY,
        "reads a file, not a log; its own PostgreSQL sink, static mode; append",
        by_parts=True,
    ),
)

FROM_KAFKA = (
    Peer(
        "Bytewax",
        "bytewax_kafka.py",
        _BYTEWAX,
        "its Kafka source, hand-written COPY sink, offsets kept nowhere; append",
    ),
    Peer(
        "Pathway",
        "pathway_kafka.py",
        _PATHWAY,
        "its Kafka source and PostgreSQL sink, static mode; append",
        by_parts=True,
    ),
    Peer(
        "Quix Streams",
        "quixstreams_kafka.py",
        _QUIX,
        "its Kafka source and PostgreSQL sink, at least once; append",
        by_parts=True,
        most=100_000,
    ),
)


def run(peer: Peer, mode: str, source: Sequence[str], url: str, rows: int) -> float:
    """Seconds that a peer takes from its process's start to its end, all rows in the table.

    Args:
        peer: Which.
        mode: `checked` or `unchecked`.
        source: What its program is told of where the records are.
        url: The database.
        rows: How many records there are.

    Raises:
        AssertionError: It lost or doubled rows.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS peer")
        connection.execute(f"CREATE TABLE peer ({TABLE_COLUMNS})")
        command = [str(peer.python), str(FOLDER / peer.program), *source]
        command += [*peer.database(url), mode]
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:  # one keeps its state where it runs
            ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
        seconds = time.perf_counter() - started
        found = connection.execute("SELECT count(*) FROM peer").fetchone()
        if ran.returncode or found != (rows,):
            said = ran.stderr[-1000:]
            raise AssertionError(f"{peer.name} wrote {found} of {rows} rows: {said}")
    return seconds
