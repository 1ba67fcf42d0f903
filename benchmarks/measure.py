"""Run a command and watch it: wall time, peak memory of its processes and of the database."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.1


@dataclass(frozen=True)
class Run:
    """What one run of a command took.

    Args:
        seconds: From its start to its end.
        process: Greatest resident memory of the command's process, in MB.
        database: Greatest sum of PostgreSQL's proportional memory (shared pages counted once).
        printed: Its standard output.
    """

    seconds: float
    process: float
    database: float
    printed: str


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Run a command in a folder to its end.

    Raises:
        AssertionError: It did not exit with 0; its last words are in the message.
    """
    log = folder / "benchmark.log"
    started = time.perf_counter()
    with log.open("w") as errors, log.with_suffix(".out").open("w+") as printed:
        process = subprocess.Popen(
            command, cwd=folder, stdout=printed, stderr=errors, env=environment
        )
        watch = _Watch(process.pid)
        code = process.wait()
        seconds = time.perf_counter() - started
        watch.end()
        printed.seek(0)
        text = printed.read()
    if code:
        raise AssertionError(f"{' '.join(command)} exited with {code}: {log.read_text()[-2000:]}")
    return Run(seconds, watch.process, watch.database, text)


class _Watch:
    """Samples memory until told to end; the peak of a process is the kernel's own figure."""

    def __init__(self, pid: int) -> None:
        self.process = 0.0
        self.database = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        turn = 0
        while not self._ended.wait(INTERVAL):
            self.process = max(self.process, _high_water(self._pid))
            if turn % 10 == 0:
                self.database = max(self.database, _database())
            turn += 1


def _high_water(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0.0
    kilobytes = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(next(kilobytes, "0")) / 1024


def _database() -> float:
    total = 0
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != "postgres":
            continue
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / (1 << 20)
