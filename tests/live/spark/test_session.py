from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pytest

from penstock.engines.spark import failures, scratch
from penstock.engines.spark.failures import WorkersDied
from penstock.engines.spark.session import Cluster
from penstock.errors import PenstockError, PlanFailed, Refused, Unavailable
from penstock.profile import Profile, SparkSettings

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.timeout(300)]

# The first tests start Spark, or fail to, in a process that has none yet.

SECRET = "hunter2-in-spark"


def profile(engine: str, spark: SparkSettings | None = None) -> Profile:
    log = "kafka://127.0.0.1:1"
    return Profile(
        "cluster", home="embedded:", log=log, engine=engine, spark=spark or SparkSettings()
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a folder") / "with spaces"


@pytest.fixture(scope="module", autouse=True)
def _tasks_travel() -> None:
    """The tasks of this file are functions that executors cannot import."""
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(  # type: ignore[no-untyped-call]
        sys.modules[__name__]
    )


@pytest.fixture(scope="module")
def cluster(folder: Path, spark: Path) -> Iterator[Cluster]:
    conf = {"spark.executorEnv.TOKEN": SECRET, "spark.my.password": SECRET}
    settings = SparkSettings(driver_memory="512m", executor_memory="700m", conf=conf)
    with Cluster(profile("local-cluster[1,2,700]", settings), "trial", None, folder) as opened:
        yield opened


Batches = Iterator[pa.RecordBatch]


def run(cluster: Cluster, task: Callable[[Batches], Batches]) -> list[str]:
    frame = cluster.session.range(1, numPartitions=1).mapInArrow(task, "text string")
    return [row.text for row in frame.collect()]


def answer(text: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"text": [text]})


def failure(cluster: Cluster, task: Callable[[Batches], Batches]) -> PenstockError:
    with pytest.raises(Exception) as caught:
        run(cluster, task)
    return failures.translate(caught.value)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def test_a_master_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    start = time.monotonic()
    with (
        pytest.raises(Unavailable, match=rf"master spark://127.0.0.1:{port} does not answer"),
        Cluster(profile(f"spark://127.0.0.1:{port}"), "trial", None, tmp_path),
    ):
        pass
    assert time.monotonic() - start < 10


def test_a_host_that_is_not_ours_is_named(tmp_path: Path) -> None:
    strange = profile("local[1]", SparkSettings(host="192.0.2.1"))
    with (
        pytest.raises(Refused, match="host must be an address of this machine"),
        Cluster(strange, "trial", None, tmp_path),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["driver.log", "driver.out"]


def test_a_java_that_will_not_do_is_named(tmp_path: Path) -> None:
    strange = profile("local[1]", SparkSettings(java=str(tmp_path)))
    with (
        pytest.raises(Refused, match="does not run"),
        Cluster(strange, "trial", None, tmp_path),
    ):
        pass


def test_executors_run_this_python_and_get_what_the_profile_says(cluster: Cluster) -> None:
    def task(batches: Batches) -> Batches:
        import os
        import sys

        yield answer(f"{sys.executable} {os.environ['TOKEN']}")

    assert run(cluster, task) == [f"{sys.executable} {SECRET}"]
    assert cluster.cores == 2
    assert cluster.session.conf.get("spark.task.maxFailures") == "4"


def test_no_secret_is_shown(cluster: Cluster, folder: Path) -> None:
    jvm = [p for p in psutil.Process().children(recursive=True) if p.name() == "java"]
    assert len(jvm) == 2  # the driver's, and an executor's
    assert not [p for p in jvm if SECRET in " ".join(p.cmdline())]
    assert not (folder / f"spark-{psutil.Process().pid}" / "spark.properties").exists()
    for file in ("driver.log", "driver.out"):
        assert SECRET not in (folder / file).read_text()


def test_errors_of_tasks_are_told_in_one_line(cluster: Cluster) -> None:
    def broken(batches: Batches) -> Batches:
        raise KeyError("missing")
        yield from batches

    def lacking(batches: Batches) -> Batches:
        import no_such_module  # type: ignore[import-not-found]

        yield from no_such_module

    def killed(batches: Batches) -> Batches:
        import os

        os.kill(os.getpid(), 9)
        yield from batches

    line = broken.__code__.co_firstlineno + 1
    error = failure(cluster, broken)
    assert type(error) is PlanFailed
    assert str(error).endswith(f"{__file__}:{line}: KeyError: 'missing'")
    error = failure(cluster, lacking)
    assert type(error) is Refused
    assert "lacks the module no_such_module; install it there" in str(error)
    error = failure(cluster, killed)
    assert type(error) is WorkersDied
    assert "died again and again" in str(error)


def test_a_python_that_is_not_there_is_named(cluster: Cluster) -> None:
    context = cluster.session.sparkContext
    python, context.pythonExec = context.pythonExec, "/nowhere/bin/python"
    try:
        error = failure(cluster, lambda batches: batches)
    finally:
        context.pythonExec = python
    assert type(error) is Refused
    assert "no Python at /nowhere/bin/python" in str(error)


def test_a_killed_driver_is_said_and_comes_back(cluster: Cluster) -> None:
    [jvm] = [p for p in psutil.Process().children() if p.name() == "java"]
    old = cluster.session
    cluster.revive()
    assert cluster.session is old  # nothing to do
    jvm.kill()
    jvm.wait()
    error = failure(cluster, lambda batches: batches)
    assert type(error) is Unavailable
    assert "driver died" in str(error)
    cluster.revive()
    assert run(cluster, lambda batches: iter([answer("back")])) == ["back"]


@pytest.mark.parametrize("ending", ["kill", "interrupt"])
def test_nothing_is_left_of_a_driver(tmp_path: Path, ending: str) -> None:
    command = [sys.executable, "-m", "tests.live.spark.driver", "local[1]", str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as driver:
        assert driver.stdout is not None
        assert driver.stderr is not None
        assert driver.stdout.readline() == "5\n"
        [jvm] = psutil.Process(driver.pid).children()
        # As a terminal does, to all of the group.
        driver.send_signal(signal.SIGKILL if ending == "kill" else signal.SIGINT)
        if ending == "interrupt":
            assert driver.stdout.readline() == "interrupted\n"
        assert driver.stderr.read() == ""
    until(lambda: not jvm.is_running())
    if ending == "kill":
        shutil.rmtree(scratch.make(tmp_path))  # removes what the killed one left
    assert sorted(path.name for path in tmp_path.iterdir()) == ["driver.log", "driver.out"]
