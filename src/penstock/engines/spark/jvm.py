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
from typing import TYPE_CHECKING

from penstock.engines.spark import settings as conf
from penstock.errors import Refused, Unavailable

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway

OUT = "driver.out"
"""What the JVM says before it has a log, in the run's folder."""

_PATIENCE = 120.0
"""Seconds until a JVM must have come up, on the slowest of machines."""


class Jvm:
    """A JVM that runs Spark's driver.

    Args:
        java: Home of its Java.
        folder: Where its words go.
        scratch: A folder that is removed with it.
        settings: What Spark is told.
    """

    def __init__(
        self, java: Path, folder: Path, scratch: Path, settings: Mapping[str, str]
    ) -> None:
        import pyspark

        self._spark = Path(pyspark.__file__).parent
        self._java = java
        self._out = folder / OUT
        self._scratch = scratch
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.gateway: JavaGateway | None = None

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
        from pyspark.java_gateway import launch_gateway

        with _environment(PYSPARK_GATEWAY_PORT=str(port), PYSPARK_GATEWAY_SECRET=secret):
            self.gateway = launch_gateway()

    def _launch(self, told: Path, file: Path) -> None:
        arguments = ["--properties-file", str(file), "--load-spark-defaults", "pyspark-shell"]
        host = self._settings["spark.driver.bindAddress"]
        environment = {
            **os.environ,
            "JAVA_HOME": str(self._java),
            "SPARK_HOME": str(self._spark),
            "SPARK_CONNECT_MODE": "0",
            "SPARK_LOCAL_IP": host,
            "_PYSPARK_DRIVER_CONN_INFO_PATH": str(told),
        }
        with self._out.open("wb") as out:
            # It ends when its standard input does, even if this process is killed. A session of
            # its own keeps Ctrl-C from it and from the executors that it starts.
            self._process = subprocess.Popen(  # noqa: S603
                [str(self._spark / "bin" / "spark-submit"), *arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self._scratch,
                start_new_session=True,
            )

    def _connection(self, told: Path) -> tuple[int, str]:
        deadline = time.monotonic() + _PATIENCE
        while not told.exists():
            if not self.alive:
                raise Refused(f"Spark's JVM ended as it started: {self._last_words()}")
            if time.monotonic() > deadline:
                self.end()
                raise Unavailable(
                    f"Spark's JVM did not come up in {_PATIENCE:.0f} s; see {self._out}"
                )
            time.sleep(0.02)
        content = told.read_bytes()
        port, length = struct.unpack("!ii", content[:8])
        return port, content[8 : 8 + length].decode()

    def _last_words(self) -> str:
        lines = self._out.read_text(errors="replace").strip().splitlines()
        said = [line for line in lines if not line.startswith(("WARNING", "\t"))]
        return (said or lines or ["it said nothing"])[-1]

    def end(self) -> None:
        """End it, in peace if it goes by itself, and remove what it kept."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
