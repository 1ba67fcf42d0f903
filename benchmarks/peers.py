"""What a user would pick instead: Bytewax and Pathway, each in a virtual environment of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks.records import TABLE_COLUMNS

FOLDER = Path(__file__).parent / "peer_programs"
ENVIRONMENTS = Path(__file__).parent / ".peers"


@dataclass(frozen=True)
class Peer:
    """A peer, what it needs, and how its program is called."""

    name: str
    program: str
    requirements: tuple[str, ...]
    note: str
    by_parts: bool = False

    @property
    def python(self) -> Path:
        """The interpreter of its environment, made on first use."""
        folder = ENVIRONMENTS / self.name.lower()
        python = folder / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", *self.requirements], check=True
            )
        return python

    def version(self) -> str:
        """The version that runs here."""
        code = f"import importlib.metadata as m; print(m.version('{self.name.lower()}'))"
        return subprocess.run(
            [self.python, "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()

    def arguments(self, lines: Path, url: str, mode: str) -> list[str]:
        """What the program is called with."""
        if not self.by_parts:
            return [str(lines), url, mode]
        parts = conninfo_to_dict(url)
        return [str(lines), *(str(parts[p]) for p in ("host", "dbname", "user")), mode]


PEERS = (
    Peer(
        "Bytewax",
        "bytewax_copy.py",
        ("bytewax==0.21.1", "psycopg[binary]==3.3.9", "msgspec==0.22.0"),
        "reads a file, not a log; hand-written COPY sink, rows and offsets apart; append",
    ),
    Peer(
        "Pathway",
        "pathway_postgres.py",
        ("pathway==0.33.0",),
        "reads a file, not a log; its own PostgreSQL sink, static mode; append",
        by_parts=True,
    ),
)


def run(peer: Peer, mode: str, lines: Path, url: str, rows: int) -> float:
    """Seconds that a peer takes from its process's start to its end, all rows in the table.

    Raises:
        AssertionError: It lost or doubled rows.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS peer")
        connection.execute(f"CREATE TABLE peer ({TABLE_COLUMNS})")
        command = [str(peer.python), str(FOLDER / peer.program)]
        started = time.perf_counter()
        ran = subprocess.run(
            [*command, *peer.arguments(lines, url, mode)],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
        found = connection.execute("SELECT count(*) FROM peer").fetchone()
        if found != (rows,):
            said = ran.stderr[-1000:]
            raise AssertionError(f"{peer.name} wrote {found} of {rows} rows: {said}")
    return seconds
