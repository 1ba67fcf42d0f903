"""Whose processor time it is: the driver's, the executors', the broker's or a store's."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path

import psutil

INTERVAL = 0.5

SETTLED = 5.0
"""Seconds after which a process is what it will be."""

_MARKS = {
    "CoarseGrainedExecutorBackend": "executor: JVM",
    "SparkSubmit": "driver: JVM",
    "pyspark.daemon": "executor: Python",
    "pyspark/daemon": "executor: Python",
    "Kafka.args": "Kafka",
    "CassandraDaemon.args": "Cassandra",
    "penstock run": "driver: Python",
}

Spent = dict[str, float]
"""Seconds of processor time by role."""


class Spending:
    """Samples the processor time of everything that a site's run consists of.

    Args:
        folder: The site's; what runs in it or is told of it belongs to it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._times: list[float] = []
        self._samples: list[Spent] = []
        self._seen: dict[tuple[int, float], tuple[str, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Spending:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, start: float, end: float) -> Spent:
        """What was spent from one moment to another, each as `time.time()` gives it."""
        first = min(bisect_left(self._times, start), len(self._times) - 1)
        last = min(bisect_left(self._times, end), len(self._times) - 1)
        before, after = self._samples[first], self._samples[last]
        scale = (end - start) / max(self._times[last] - self._times[first], 1e-9)
        return {role: (spent - before.get(role, 0.0)) * scale for role, spent in after.items()}

    def _run(self) -> None:
        while True:
            self._sample()
            if self._ended.wait(INTERVAL):
                return

    def _sample(self) -> None:
        now = time.time()
        for process in psutil.process_iter(["pid", "create_time", "cpu_times"]):
            info = process.info
            key = (info["pid"], info["create_time"])
            role = self._seen[key][0] if key in self._seen else self._role(process)
            if role and info["cpu_times"]:
                times = info["cpu_times"]
                self._seen[key] = (role, times.user + times.system)
            elif not role and now - info["create_time"] > SETTLED:
                self._seen[key] = ("", 0.0)
        totals: Spent = defaultdict(float)
        for role, spent in self._seen.values():
            if role:
                totals[role] += spent
        self._times.append(now)
        self._samples.append(dict(totals))

    def _role(self, process: psutil.Process) -> str:
        try:
            if process.name() == "postgres":
                return "PostgreSQL" if self._mine(process) or self._mine(process.parent()) else ""
            words = " ".join(process.cmdline())
            role = next((role for mark, role in _MARKS.items() if mark in words), "")
            return role if role and self._mine(process) else ""
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return ""

    def _mine(self, process: psutil.Process | None) -> bool:
        """Whether it, or what started it, names the folder or runs in it."""
        while process is not None and process.pid > 1:
            if any(self._folder in word for word in process.cmdline()):
                return True
            if process.cwd().startswith(self._folder):
                return True
            process = process.parent()
        return False
