"""The driver's JVM: started quietly, and gone when this process is."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from penstock.engines.spark import settings as conf
from penstock.errors import Refused, Unavailable

OUT = "driver.out"
"""What the JVM says before it has a log, in the run's folder."""

_PATIENCE = 120.0
"""Seconds in which a JVM comes up even on a slow machine."""

_LAST = 10.0
"""Seconds for its end in peace."""


class Jvm:
    """A JVM that runs Spark's driver.

    Args:
        java: Its Java program.
        scratch: A folder that is removed with it; its words go beside that.
        settings: What Spark is told.

    Attributes:
        gateway: How to speak to it, once it is started.
    """

    def __init__(self, java: Path, scratch: Path, settings: Mapping[str, str]) -> None:
        self._java = java.resolve().parent.parent
        self._scratch = scratch
        self._settings = settings
        self._out = scratch.parent / OUT
        self._process: subprocess.Popen[bytes] | None = None
        self.gateway: Any = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and connect.

        Raises:
            Refused: It ended at once; the message has its last words.
            Unavailable: It did not come up in time.
        """
        told = self._scratch / "connection"
        file = self._scratch / "spark.properties"
        file.touch(0o600)
        file.write_text(conf.written(self._settings), encoding="ascii")
        try:
            self._launch(told, file)
            port, secret = self._connection(told)
        finally:
            file.unlink()  # it may hold secrets
        from pyspark import java_gateway

        with _environment(PYSPARK_GATEWAY_PORT=str(port), PYSPARK_GATEWAY_SECRET=secret):
            self.gateway = java_gateway.launch_gateway()  # type: ignore[no-untyped-call]

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """End it, in peace if it goes by itself, and remove what it kept."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(_LAST)
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _launch(self, told: Path, file: Path) -> None:
        home = self._home()
        environment = {
            **os.environ,
            "JAVA_HOME": str(self._java),
            "SPARK_HOME": str(home),
            "SPARK_CONNECT_MODE": "0",
            "SPARK_LOCAL_IP": self._settings["spark.driver.bindAddress"],
            "SPARK_LOCAL_DIRS": str(self._scratch),
            "_PYSPARK_DRIVER_CONN_INFO_PATH": str(told),
        }
        options = ["--properties-file", str(file), "--load-spark-defaults", "pyspark-shell"]
        with self._out.open("wb") as out:
            # It ends when its standard input does, so also when this process is killed. In a
            # session of its own neither it nor the executors that it starts hear of a Ctrl-C.
            self._process = subprocess.Popen(  # noqa: S603
                [str(home / "bin" / "spark-submit"), *options],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self._scratch,
                start_new_session=True,
            )

    def _home(self) -> Path:
        import pyspark

        installed = Path(pyspark.__file__).parent
        if not self._settings["spark.master"].startswith("local-cluster"):
            return installed
        home = self._scratch / "home"  # its workers keep their files in Spark's home
        home.mkdir()
        for part in ("bin", "jars", "python"):
            (home / part).symlink_to(installed / part)
        return home

    def _connection(self, told: Path) -> tuple[int, str]:
        deadline = time.monotonic() + _PATIENCE
        while not told.exists():
            if not self.alive:
                raise Refused(f"Spark's driver could not be started: {self._last_words()}")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Spark's driver did not come up in {_PATIENCE:.0f} s; look into {self._out}"
                )
            time.sleep(0.02)
        content = told.read_bytes()  # it is moved to its place when it is whole
        port, length = struct.unpack("!ii", content[:8])
        return port, content[8 : 8 + length].decode()

    def _last_words(self) -> str:
        lines = self._out.read_text(errors="replace").strip().splitlines()
        said = [line for line in lines if not line.startswith(("WARNING", "\t"))]
        return (said or [f"it said nothing; Java is {self._java}"])[-1]


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
