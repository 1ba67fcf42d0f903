"""A standalone cluster whose executors run a Python that was packed and shipped to them."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from penstock import pipeline
from penstock.engines.spark import failures, shipping
from penstock.engines.spark.session import Cluster
from penstock.engines.spark.shipping import Shipped
from penstock.errors import PenstockError, Refused
from penstock.plan import compile
from penstock.profile import Profile, SparkSettings
from penstock.profile.apart import VARIABLE

pytestmark = pytest.mark.timeout(300)

PROGRAM = """
from pathlib import Path

import polars as pl
import penstock as ps
from rules import prices

RATES = Path(__file__).with_name("rates.csv").read_text()

class Item(ps.Contract):
    id: int = ps.key()

def same(items: pl.DataFrame) -> pl.DataFrame:
    return prices.same(items)

pipeline = ps.Pipeline(RATES.strip())
pipeline.topic("items", Item).map(same, Item).sink("items", store="one")
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed Python that finds the libraries of this one."""
    folder = tmp_path_factory.mktemp("packed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    libraries = sysconfig.get_path("purelib")
    path = folder / "env" / "lib" / version / "site-packages" / "ours.pth"
    path.write_text(f"import site; site.addsitedir({libraries!r})\n")
    archive = folder / "environment.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder / "env", arcname=".")
    return archive


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "rules").mkdir()
    (folder / "rules" / "__init__.py").touch()
    (folder / "rules" / "prices.py").write_text("def same(items):\n    return items\n")
    (folder / "rates.csv").write_text("shop\n")
    (folder / "lacking.py").write_text(f"import only_on_the_driver\n{PROGRAM}")
    (folder / "shop.py").write_text(PROGRAM)
    return folder / "shop.py"


@pytest.fixture(scope="module")
def cluster(
    spark_master: str, environment: Path, program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    spark = SparkSettings(
        driver_memory="512m",
        executor_memory="512m",
        archives=f"{environment}#packed",
        files=("rates.csv",),
    )
    profile = Profile(
        "cluster", home="embedded:", log="kafka://127.0.0.1:1", engine=spark_master, spark=spark
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        Cluster(profile, "shop", program, tmp_path_factory.mktemp("run")) as opened,
    ):
        patch.setenv(VARIABLE, "trial")
        from pyspark import cloudpickle

        cloudpickle.register_pickle_by_value(  # type: ignore[no-untyped-call]
            sys.modules[__name__]
        )
        yield opened


def on_executor(cluster: Cluster, shipped: Shipped) -> list[str]:
    """Load the program there, and say where and what it is."""

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import sys

        from penstock.engines.spark.shipping import load

        [segment] = compile(load(shipped))
        found = [sys.executable, load(shipped).name, segment.plan.fingerprint]
        yield pa.RecordBatch.from_pydict({"text": found})

    frame = cluster.session.range(1, numPartitions=1).mapInArrow(task, "text string")
    return [row.text for row in frame.collect()]


def refused(cluster: Cluster, shipped: Shipped) -> PenstockError:
    with pytest.raises(Exception) as caught:
        on_executor(cluster, shipped)
    return failures.translate(caught.value)


def test_executors_run_the_packed_python_and_the_shipped_program(
    cluster: Cluster, program: Path
) -> None:
    python, name, fingerprint = on_executor(cluster, cluster.shipped)
    [segment] = compile(pipeline.load(program))
    assert re.fullmatch(r"/.*/work/app-\S+/packed/bin/python", python)
    assert name == "trial_shop"
    assert fingerprint == segment.plan.fingerprint


def test_a_module_that_executors_lack_is_named(cluster: Cluster) -> None:
    error = refused(cluster, replace(cluster.shipped, program="lacking.py"))
    assert type(error) is Refused
    assert "lacks the module 'only_on_the_driver', which the program imports" in str(error)


def test_another_penstock_is_named(cluster: Cluster) -> None:
    error = refused(cluster, replace(cluster.shipped, penstock="9.9"))
    assert type(error) is Refused
    assert f"has penstock {cluster.shipped.penstock}, but the driver has 9.9" in str(error)


def test_another_python_is_named(cluster: Cluster) -> None:
    context = cluster.session.sparkContext
    version, context.pythonVer = context.pythonVer, "3.99"
    try:
        error = refused(cluster, cluster.shipped)
    finally:
        context.pythonVer = version
    assert type(error) is Refused
    assert "the driver Python 3.99; name one of the same version" in str(error)


def test_a_pipeline_without_a_file_cannot_be_shipped(tmp_path: Path) -> None:
    profile = Profile("cluster", home="embedded:", log="kafka://127.0.0.1:1", engine="local[1]")
    with pytest.raises(Refused, match="runs programs that are files"):
        _ = Cluster(profile, "shop", None, tmp_path).shipped
    assert shipping.shipped(Path("a/b.py"), "f").program == "b.py"
