"""A run's Spark: the driver's JVM, its session, and the program on the executors."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.engines.spark import failures, masters, quiet, scratch, settings, shipping
from penstock.engines.spark.jvm import Jvm
from penstock.engines.spark.settings import Places
from penstock.errors import Refused, Unavailable
from penstock.services import artifacts, java

if TYPE_CHECKING:
    from types import TracebackType

    from pyspark.sql import SparkSession

    from penstock.engines.spark.shipping import Shipped
    from penstock.profile import Profile

_PACKED = "penstock-program"
_LOOK = 0.1
_DESERTED = 30.0


class Cluster:
    """The Spark of one run; a process has one at a time.

    Args:
        profile: Names the master, and how Spark is to be.
        pipeline: The pipeline's name.
        program: The program's file, for the executors; None ships nothing.
        folder: Where Spark's words go, into `driver.log`, and what it keeps while it runs.
        said: Is told what takes a while.

    Example:
        >>> with Cluster(profile, "users", Path("users.py"), Path(".penstock/spark")) as cluster:
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
        self._master = profile.engine or ""
        self._pipeline = pipeline
        self._program = program
        self._folder = folder
        self._said = said
        self._jvm: Jvm | None = None
        self._session: SparkSession | None = None
        self._manned = 0.0
        self._deserted = False
        self._reviving = threading.Lock()

    @property
    def session(self) -> SparkSession:
        """The session; another one after `revive`."""
        if self._session is None:
            raise Unavailable("Spark does not run")
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
    def scratch(self) -> Path:
        """A folder that is gone after the run, at the latest when the next one starts."""
        return scratch.own(self._folder)

    @property
    def cores(self) -> int:
        """How many tasks all executors run at once; it changes as executors come and go."""
        executors = self._scala_context.statusStore().executorList(True)
        return sum(int(executors.apply(i).totalCores()) for i in range(executors.size()))

    def __enter__(self) -> Cluster:
        """Start Spark.

        Raises:
            Unavailable: The master, or an executor of it, is not to be had now.
            Refused: Spark cannot run here, or not like this; the message says what to change.
            ProfileError: A file that is to be shipped is not there.
        """
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def watch(self, *, busy: bool) -> None:
        """See that there are executors; called about once a second while a query runs.

        Args:
            busy: Whether a micro-batch waits for them.

        Raises:
            Unavailable: It has waited for too long. The next `revive` starts Spark again: a master
                that was started again may know nothing of this run.
        """
        if not busy or self.cores:
            self._manned = time.monotonic()
        elif time.monotonic() - self._manned > _DESERTED:
            self._deserted = True
            raise Unavailable(
                f"{self._master} has given no executor for {_DESERTED:.0f} s while a micro-batch "
                "waited; trying again. Are the master and its workers there?"
            )

    def revive(self) -> None:
        """Start again if the JVM, or its bond with the master, is gone; cheap when all is well.

        Raises as entering does.
        """
        with self._reviving:  # every segment's thread comes here
            if not self._lives():
                self._said("Spark's driver is gone; starting it again")
                self._end()
                self._start()

    def _lives(self) -> bool:
        if self._jvm is None or not self._jvm.alive or self._session is None or self._deserted:
            return False
        try:
            return not self._scala_context.isStopped()
        except Exception:  # whatever it is, it does not answer
            return False

    @property
    def _scala_context(self) -> Any:
        return self.session.sparkContext._jsc.sc()

    def _start(self) -> None:
        jars = artifacts.classpath("spark")  # says so when there is no pyspark
        machine = java.for_spark(self._profile.spark.java or None)
        masters.dial(self._master)
        try:
            self._open(jars, machine)
        except Exception as error:
            told = failures.translate(error)  # while the JVM lives, which knows the words
            self._end()
            raise told from error
        except BaseException:
            self._end()
            raise

    def _open(self, jars: list[Path], machine: Path) -> None:
        self._deserted = False
        own = scratch.make(self._folder)
        quiet.python()
        places = Places(jars, own, quiet.java(own))
        told = settings.properties(self._profile, self._pipeline, places)
        self._jvm = Jvm(machine, own, told)
        self._jvm.start()
        with masters.explained(self._master, self._folder / quiet.LOG):
            self._session = self._opened(self._jvm)
            if self._program is not None:
                archive = own / f"{_PACKED}.zip"
                shipping.pack(self._program, self._profile.spark.files, archive)
                self._session.sparkContext.addArchive(f"{archive}#{_PACKED}")
            self._await_executors()
        self._manned = time.monotonic()

    def _opened(self, jvm: Jvm) -> SparkSession:
        from pyspark import SparkConf, SparkContext
        from pyspark.sql import SparkSession

        with _handlers_kept():
            conf = SparkConf(_jvm=jvm.gateway.jvm)
            context = SparkContext(gateway=jvm.gateway, conf=conf)
        context.pythonExec = settings.executors_python(self._profile, sys.executable)
        return SparkSession(context)

    def _await_executors(self) -> None:
        patience = masters.patience(self._master)
        deadline = time.monotonic() + patience
        while not self.cores:
            if not self._lives():
                raise Unavailable(
                    f"{self._master} ended this application as it began; "
                    f"look into {self._folder / quiet.LOG}"
                )
            if time.monotonic() > deadline:
                spark = self._profile.spark
                raise Unavailable(
                    f"{self._master} gave no executor in {patience:.0f} s. Either no worker has a "
                    f"free core and {spark.executor_memory} of memory (executor_memory), or "
                    f"executors do not reach this driver at {spark.host} (host in the profile)"
                )
            time.sleep(_LOOK)

    def _end(self) -> None:
        from pyspark import SparkContext
        from pyspark.sql import SparkSession

        if self._session is not None:
            if not self._lives():
                self._session.sparkContext._jsc = None  # nobody is there to be asked
            with suppress(Exception):
                self._session.stop()
        if self._jvm is not None:
            if self._jvm.gateway is not None:
                with suppress(Exception):
                    self._jvm.gateway.shutdown()
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
