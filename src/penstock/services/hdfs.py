"""HDFS on this machine: a NameNode and a DataNode."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

from penstock.services.exclusive import exclusive
from penstock.services.hdfs_parts import DataNode, NameNode, Place
from penstock.services.ports import HOST
from penstock.services.server import STOP, Server, State
from penstock.services.settings import Defaults, Settings


class Hdfs:
    """A NameNode and a DataNode, which run from `up` to `down` as one. Like `Server`.

    The NameNode is at `port` and shows its state at `internal_port`; the DataNode is at the two
    ports after it. Both write to one log.

    Args:
        settings: Ports, folder; `settings.memory` is the heap of each of the two,
            `settings.settings` are those of `hdfs-site.xml`.
        mirror: Where its jars come from.
    """

    name = "hdfs"
    defaults = Defaults(port=9820, memory="256m", folder="hdfs")

    def __init__(self, settings: Settings, mirror: str | None = None) -> None:
        self._home = settings.data
        self._patience = 2 * (settings.timeout + STOP)
        self._look = settings.internal_port
        self.log = self._home / "server.log"
        place = Place(settings, mirror)
        names, blocks = (self._home / part for part in ("namenode", "datanode"))
        self._names = Server(NameNode(place, names), replace(settings, data=names), self.log)
        self._blocks = Server(DataNode(place, blocks), replace(settings, data=blocks), self.log)

    def up(self, stopping: threading.Event | None = None) -> str:
        """Start what does not run of it; wait until it takes files.

        Args:
            stopping: Set by the caller to give up; what is not ready is stopped then.

        Returns:
            Its URL; a profile adds a folder.

        Raises:
            Refused: It cannot run here; the message has the end of its log and what to do.
            Unavailable: It was killed or does not answer in time, or the disk is full.
        """
        with self._alone():
            found = self._names.daemon.lives()
            try:
                self._names.up(stopping)
                return self._blocks.up(stopping)
            except BaseException:
                if not found:
                    self._stop_all()
                raise

    def down(self) -> None:
        """Stop it. Nothing happens if it does not run.

        Raises:
            Refused: Some of it cannot be stopped from here.
        """
        if self._home.exists():
            with self._alone():
                self._stop_all()

    def status(self) -> State:
        """Look at it, starting and changing nothing; it is as its worse part is."""
        names, blocks = self._names.status(), self._blocks.status()
        more = {
            "ui": f"http://{HOST}:{self._look}",
            "datanode": {"state": blocks.state, "pid": blocks.pid},
        }
        worse = blocks if names.state == "running" else names
        return replace(names, state=worse.state, data=self._home, more=more, log=self.log)

    def _stop_all(self) -> None:
        self._blocks.down()
        self._names.down()

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return exclusive(self._home, f"{self.name} in {self._home}", self._patience)
