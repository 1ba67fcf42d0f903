"""Spark on this machine: a standalone master and its workers, from the jars of pyspark."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from penstock.services import settings
from penstock.services.daemon import Daemon
from penstock.services.exclusive import exclusive
from penstock.services.ports import HOST
from penstock.services.server import STOP, Condition, Server, State
from penstock.services.settings import Defaults, Settings
from penstock.services.spark_parts import Master, Offer, Worker

_EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


class Spark:
    """A master and its workers, which run from `up` to `down` as one. Like `Server`.

    The master is at `port` and shows its state, for people and for us, at `internal_port`; the
    workers show theirs at the ports after it. All write to one log.

    Args:
        settings: Ports, folder; `settings.memory` is what each worker has for executors,
            `settings.settings` are those of `spark-defaults.conf`.
        cores: What each worker has for executors; 0 is as many as this machine has.
        workers: How many.
    """

    name = "spark"
    defaults = Defaults(port=7077, memory="2g", folder="spark", own=("cores", "workers"))

    def __init__(self, settings: Settings, cores: int = 0, workers: int = 1) -> None:
        self._home = settings.data
        self._patience = (workers + 1) * (settings.timeout + STOP)
        self._look = settings.internal_port
        self.log = self._home / "server.log"
        offer = Offer(cores or len(os.sched_getaffinity(0)), settings.memory)
        at_master = self._within(settings, "master")
        self._master = Server(Master(at_master), at_master, self.log)
        self._workers = {}
        for number in range(1, workers + 1):
            at_worker = self._within(settings, f"worker-{number}")
            recipe = Worker(at_worker, number, offer)
            self._workers[at_worker.data] = Server(recipe, at_worker, self.log)

    def up(self, stopping: threading.Event | None = None) -> str:
        """Start what does not run of it; wait until the workers are registered at the master.

        Args:
            stopping: Set by the caller to give up; what is not ready is stopped then.

        Returns:
            Its URL.

        Raises:
            Refused: It cannot run here; the message has the end of its log and what to do.
            Unavailable: It was killed or does not answer in time, or the disk is full.
        """
        with self._alone():
            found = self._master.daemon.lives()
            self._stop_workers(but=self._living())
            try:
                url = self._master.up(stopping)
                for worker in self._workers.values():
                    worker.up(stopping)
            except BaseException:
                if not found:
                    self._stop_all()
                raise
        return url

    def down(self) -> None:
        """Stop it, executors included. Nothing happens if it does not run.

        Raises:
            Refused: Some of it cannot be stopped from here.
        """
        if self._home.exists():
            with self._alone():
                self._stop_all()

    def status(self) -> State:
        """Look at it, starting and changing nothing; it is as its worst part is."""
        master = self._master.status()
        workers = [worker.status() for worker in self._workers.values()]
        more = {
            "ui": f"http://{HOST}:{self._look}",
            "workers": [{"state": part.state, "pid": part.pid} for part in workers],
        }
        condition = _condition(master.state, {worker.state for worker in workers})
        return replace(master, state=condition, data=self._home, more=more, log=self.log)

    def _within(self, settings: Settings, name: str) -> Settings:
        return replace(settings, data=self._home / name)

    def _stop_all(self) -> None:
        self._stop_workers()
        self._master.down()

    def _living(self) -> set[Path]:
        return {folder for folder, worker in self._workers.items() if worker.daemon.lives()}

    def _stop_workers(self, but: Collection[Path] = ()) -> None:
        for folder in {*self._home.glob("worker-*")} - {*but}:
            Daemon(folder, self.log).stop(STOP)
            _end_executors(folder)

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return exclusive(self._home, f"{self.name} in {self._home}", self._patience)


def get(table: Mapping[str, Any], root: Path) -> Spark:
    """Return the Spark of a table `[services.spark]`.

    Args:
        table: The table as it was read.
        root: The folder for its folder, unless `data` is set.

    Raises:
        ProfileError: A setting is unknown or has a wrong value.
    """
    read = settings.read(Spark.name, table, Spark.defaults, root)
    where = f"[services.{Spark.name}]"
    cores = settings.whole(f"{where} cores", table.get("cores", 0), least=0)
    workers = settings.whole(f"{where} workers", table.get("workers", 1), least=1)
    return Spark(read, cores, workers)


def _condition(master: Condition, workers: set[Condition]) -> Condition:
    if master != "running" or workers == {"running"}:
        return master
    return "died" if "died" in workers else "not answering"


def _end_executors(folder: Path) -> None:
    """Kill the executors that a killed worker left; others have ended with their worker."""
    left = list(_executors(folder))
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=STOP)


def _executors(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder) and _EXECUTOR in process.cmdline():
                yield from [process, *process.children(recursive=True)]
