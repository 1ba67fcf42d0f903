from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engines.spark import settings
from penstock.engines.spark.settings import Places
from penstock.profile import Profile, SparkSettings

PLACES = Places([Path("/jars/a.jar"), Path("/jars/b.jar")], Path("/s c"), Path("/s c/log4j2"))


def profile(engine: str = "local[2]", spark: SparkSettings | None = None) -> Profile:
    return Profile("c", home="", log="", engine=engine, spark=spark or SparkSettings())


@pytest.mark.parametrize(
    ("engine", "master"),
    [
        ("local[2]", "local[2,4]"),
        ("local[*]", "local[*,4]"),
        ("local[2,1]", "local[2,1]"),
        ("local-cluster[2,1,1024]", "local-cluster[2,1,1024]"),
        ("spark://host:7077", "spark://host:7077"),
    ],
)
def test_tasks_are_tried_again_also_locally(engine: str, master: str) -> None:
    assert settings.properties(profile(engine), "p", PLACES)["spark.master"] == master


def test_raw_settings_win_and_are_added_to() -> None:
    conf = {
        "spark.task.maxFailures": "1",
        "spark.jars": "/mine.jar",
        "spark.driver.extraJavaOptions": "-Dmine=1",
    }
    found = settings.properties(profile(spark=SparkSettings(conf=conf)), "p", PLACES)
    assert found["spark.task.maxFailures"] == "1"
    assert found["spark.jars"] == "/jars/a.jar,/jars/b.jar,/mine.jar"
    assert found["spark.driver.extraJavaOptions"].startswith('-Dmine=1 "-Dlog4j2')
    assert '"-Djava.io.tmpdir=/s c"' in found["spark.driver.extraJavaOptions"]


def test_everything_is_bound_to_one_address_and_no_page_is_served() -> None:
    found = settings.properties(profile(), "p", PLACES)
    assert found["spark.driver.host"] == found["spark.driver.bindAddress"] == "127.0.0.1"
    assert found["spark.ui.enabled"] == "false"


@pytest.mark.parametrize(
    ("engine", "spark", "python"),
    [
        ("spark://h:1", SparkSettings(), "/own"),
        ("spark://h:1", SparkSettings(python="/theirs"), "/theirs"),
        ("spark://h:1", SparkSettings(archives="env.tar.gz#env"), "./env/bin/python"),
        ("spark://h:1", SparkSettings(archives="a#env", python="./env/x"), "./env/x"),
        ("local[2]", SparkSettings(archives="env.tar.gz#env"), "/own"),
    ],
)
def test_executors_python(engine: str, spark: SparkSettings, python: str) -> None:
    assert settings.executors_python(profile(engine, spark), "/own") == python


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_any_text_survives_the_file(values: dict[str, str]) -> None:
    read = {}
    for line in settings.written(values).splitlines():
        name, _, value = line.partition("=")
        read[_java(name)] = _java(value)
    assert read == values


def _java(text: str) -> str:
    """Read as java.util.Properties does."""
    units = bytes.fromhex(text.replace("\\u", ""))
    return units.decode("utf-16-be", "surrogatepass")
