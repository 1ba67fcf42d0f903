from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from penstock.errors import Refused
from penstock.services.artifacts import ensure, lock, relock
from penstock.services.artifacts.lock import Artifact, Group


def test_coordinates_give_the_place_in_a_repository() -> None:
    assert [
        Artifact(names, 1, "").path for names in ("a.b:c:1.0", "a:c:1:all@tar.gz", "a:c:1:x")
    ] == [
        "a/b/c/1.0/c-1.0.jar",
        "a/c/1/c-1-all.tar.gz",
        "a/c/1/c-1-x.jar",
    ]


def test_every_service_has_what_it_wants() -> None:
    groups = lock.read()
    assert {"kafka", "cassandra", "registry"} <= set(groups)
    for group in groups.values():
        assert set(group.wanted) <= {file.coordinates for file in group.files}


def test_the_lock_is_whole() -> None:
    for group in lock.read().values():
        assert [file.path for file in group.files] == sorted({file.path for file in group.files})
        for file in group.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.size > 0


def test_a_file_that_two_services_share_is_locked_once() -> None:
    seen: dict[str, Artifact] = {}
    for group in lock.read().values():
        for file in group.files:
            assert seen.setdefault(file.path, file) == file


def test_the_lock_is_as_the_tool_writes_it() -> None:
    file = Path(lock.__file__).with_name(lock.FILE)
    assert file.read_text() == relock.written(lock.read())


def test_the_tool_writes_what_can_be_read() -> None:
    file = Artifact("a:b:1:all@tar.gz", 7, "f" * 64)
    text = relock.written({"app": Group((file.coordinates,), transitive=False, files=(file,))})
    assert tomllib.loads(text) == {
        "app": {
            "wanted": ["a:b:1:all@tar.gz"],
            "transitive": False,
            "files": [["a:b:1:all@tar.gz", 7, "f" * 64]],
        }
    }


def test_maven_is_asked_for_what_is_wanted() -> None:
    alone = relock.pom(Group(("a.b:c:1:all@tar.gz",), transitive=False, files=()))
    assert "<groupId>a.b</groupId><artifactId>c</artifactId><version>1</version>" in alone
    assert "<classifier>all</classifier><type>tar.gz</type>" in alone
    assert "<exclusion><groupId>*</groupId>" in alone
    assert "exclusion" not in relock.pom(Group(("a:c:1",), transitive=True, files=()))


def test_the_connector_is_of_the_version_of_pyspark() -> None:
    spark = lock.group("spark")
    assert spark.fits == "pyspark 4.2"
    [connector] = [f for f in spark.files if ":spark-sql-kafka-0-10_2.13:" in f.coordinates]
    assert connector.coordinates.rpartition(":")[2].startswith(spark.fits.partition(" ")[2])


@pytest.mark.parametrize("version", ["4.3.0", "3.5.8", "4.20.0"])
def test_another_pyspark_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda package: version)
    with pytest.raises(Refused) as refused:
        ensure(["spark"])
    assert str(refused.value) == (
        f"pyspark {version} is installed, and the jars of spark are for 4.2; "
        "run pip install 'pyspark==4.2.*'"
    )


def test_no_pyspark_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(Refused, match=r"not installed; run pip install 'penstock\[spark\]'"):
        ensure(["spark"])
