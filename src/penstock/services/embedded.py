"""The embedded PostgreSQL as one of the servers that `penstock services` knows."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from penstock.services.postgresql import EmbeddedPostgresql
from penstock.services.server import Condition, State


class Embedded:
    """Keeps the embedded PostgreSQL running between commands.

    Args:
        root: The `.penstock` directory.
    """

    name = "embedded"

    def __init__(self, root: Path) -> None:
        self._server = EmbeddedPostgresql(root)
        self.log = self._server.cluster.log

    def up(self, stopping: threading.Event | None = None) -> str:
        return self._server.up()

    def down(self) -> None:
        self._server.down()

    def status(self) -> State:
        found = self._server.status()
        more: dict[str, Any] = {"kept": found.kept, "used": found.used}
        if found.running:
            more["psql"] = self._server.psql()
        condition: Condition = "running" if found.running else "stopped"
        return State(self.name, condition, found.url, found.pid, found.data.parent, self.log, more)
