"""The lock is right: the public repository (or the mirror that is set) has what it says."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from penstock.services.artifacts import classpath, lock, places, unpacked
from penstock.services.artifacts.fetch import Fetch
from penstock.services.artifacts.progress import Lines


@pytest.fixture(scope="module")
def base() -> str:
    """The repository's URL, if it can be reached from here."""
    url = places.repository()
    try:
        httpx.head(url, timeout=20, follow_redirects=True)
    except httpx.TransportError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"{url} cannot be reached from here: {error}"
        )
    return url


def test_small_files_of_each_service_come_as_locked(base: str, tmp_path: Path) -> None:
    small = {f for g in lock.read().values() for f in g.files if f.size < 50_000}
    Fetch(base, tmp_path, Lines(lambda line: None)).all(small)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.jar")} == {
        f.path for f in small
    }
    assert len(small) > 20


def test_the_repository_goes_on_where_a_fetch_broke_off(base: str, tmp_path: Path) -> None:
    file = next(f for f in lock.group("kafka").files if f.size > 1_000_000)
    Fetch(base, tmp_path, Lines(lambda line: None)).all([file])
    whole = tmp_path / file.path
    content = whole.read_bytes()
    whole.unlink()
    whole.with_name(f"{whole.name}.part").write_bytes(content[:-1000])
    heard: list[int] = []

    class Counted(Lines):
        def advance(self, number: int) -> None:
            heard.append(number)

    Fetch(base, tmp_path, Counted(lambda line: None)).all([file])
    assert whole.read_bytes() == content
    assert heard[0] == file.size - 1000
    assert sum(heard[1:]) == 1000


def test_the_services_come_whole(base: str) -> None:
    """In the user's own cache, which later starts of services need anyway."""
    found = {name: {path.name for path in classpath(name)} for name in ("kafka", "cassandra")}
    assert found["kafka"] >= {"kafka_2.13-4.3.1.jar", "kafka-tools-4.3.1.jar"}
    assert any(name.startswith("jamm-") for name in found["cassandra"])
    assert (unpacked("registry") / "quarkus-run.jar").is_file()
