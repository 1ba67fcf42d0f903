"""A run's Spark: the driver's JVM, its session, and the program on the executors."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.engines.spark import failures, quiet, settings, shipping
from penstock.engines.spark.jvm import Jvm
from penstock.engines.spark.settings import Places
from penstock.errors import PenstockError, Refused, Unavailable
from penstock.services import artifacts

if TYPE_CHECKING:
    from types import TracebackType

    from pyspark.sql import SparkSession

    from penstock.engines.spark.shipping import Shipped
    from penstock.profile import Profile

_PACKED = "penstock-program"


class Cluster:
    """A Spark of this run; one at a time in a process.

    Args:
        profile: Names the master, and how Spark is to be.
        pipeline: The pipeline's name.
        program: The program's file, for the executors; None ships nothing.
        folder: Where Spark's words go, into `driver.log`.
        said: Is told what takes a while.

    Example:
        >>> with Cluster(profile, "users", Path("users.py"), Path(".penstock")) as cluster:
        ...     cluster.session.range(3).count()
    """

    def __init__(
        self,
        profile: Profile,
        pipeline: str,
        program: Path | None,
        folder: Path,
        said: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._profile = profile
        self._pipeline = pipeline
        self._program = program
        self._folder = folder
        self._said = said
        self._jvm: Jvm | None = None
        self._session: SparkSession | None = None

    @property
    def session(self) -> SparkSession:
        """The session; another one after `revive`."""
        if self._session is None:
            raise Unavailable("Spark is not running")
        return self._session

    @property
    def shipped(self) -> Shipped:
        """How a task finds the program.

        Raises:
            Refused: There is no program's file.
        """
        if self._program is None:
            raise Refused("the Spark engine runs programs that are files; this pipeline has none")
        return shipping.shipped(self._program, _PACKED)

    @property
    def cores(self) -> int:
        """How many tasks all executors run at once, as it is now; at least 1."""
        store = self.session.sparkContext._jsc.sc().statusStore()
        executors = store.executorList(True)
        counts = [executors.apply(i).totalCores() for i in range(executors.size())]
        return max(1, sum(counts))

    def __enter__(self) -> Cluster:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def revive(self) -> None:
        """Start again if the JVM or its connection to the cluster died; cheap when all is well.

        Raises:
            Unavailable: It cannot be started now.
            Refused: It cannot be started like this.
        """
        if not self._alive():
            self._said("Spark's driver died; starting it again")
            self._end()
            self._start()

    def _alive(self) -> bool:
        if self._jvm is None or not self._jvm.alive or self._session is None:
            return False
        try:
            return not self._session.sparkContext._jsc.sc().isStopped()
        except Exception:
            return False

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="penstock-spark-"))
        logging = quiet.java(self._folder, scratch)
        quiet.python()
        places = Places(artifacts.classpath("spark"), scratch, logging)
        told = settings.properties(self._profile, self._pipeline, places)
        self._jvm = Jvm(Path("/usr/lib/jvm/java-17-openjdk-amd64"), self._folder, scratch, told)
        try:
            self._jvm.start()
            self._session = self._opened(self._jvm)
            if self._program is not None:
                archive = scratch / f"{_PACKED}.zip"
                shipping.pack(self._program, self._profile.spark.files, archive)
                self._session.sparkContext.addArchive(f"{archive}#{_PACKED}")
        except BaseException as error:
            self._end()
            if isinstance(error, PenstockError) or not isinstance(error, Exception):
                raise
            raise failures.translate(error) from error

    def _opened(self, jvm: Jvm) -> SparkSession:
        from pyspark import SparkConf, SparkContext
        from pyspark.sql import SparkSession

        assert jvm.gateway is not None
        with _handlers_kept():
            conf = SparkConf(_jvm=jvm.gateway.jvm)
            context = SparkContext(gateway=jvm.gateway, conf=conf)
        context.pythonExec = settings.executors_python(self._profile, sys.executable)
        return SparkSession(context)

    def _end(self) -> None:
        from pyspark import SparkContext
        from pyspark.sql import SparkSession

        if self._session is not None:
            with suppress(Exception):
                self._session.stop()
        gateway = self._jvm.gateway if self._jvm else None
        if gateway is not None:
            with suppress(Exception):
                gateway.shutdown()
        if self._jvm is not None:
            self._jvm.end()
        SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
        SparkSession._instantiatedSession = None
        self._jvm = self._session = None


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Spark takes Ctrl-C for itself in the main thread; it is ours."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
