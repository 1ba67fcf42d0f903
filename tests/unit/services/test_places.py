from __future__ import annotations

from pathlib import Path

import pytest
from jgo.constants import MAVEN_CENTRAL_URL

from penstock.errors import ProfileError
from penstock.services.artifacts import places


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (places.MIRROR, places.CACHE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_the_environment_goes_before_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.repository() == MAVEN_CENTRAL_URL
    assert places.repository("https://mirror.example/central/") == "https://mirror.example/central"
    monkeypatch.setenv(places.MIRROR, "http://localhost:1/x")
    assert places.repository("https://mirror.example/central/") == "http://localhost:1/x"


@pytest.mark.parametrize("wrong", ["maven.example.com", "ftp://a/b", "https://", "http://a:b:c/"])
def test_a_mirror_must_be_a_url(wrong: str) -> None:
    with pytest.raises(ProfileError, match="mirror"):
        places.repository(wrong)


def test_a_wrong_mirror_keeps_its_password() -> None:
    with pytest.raises(ProfileError) as refused:
        places.repository("ftp://me:s3cret@a/b")
    assert "s3cret" not in str(refused.value)


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert places.cache() == Path("/home/me/.cache/penstock")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert places.cache() == Path("/home/me/.cache/penstock"), "a relative one is to be ignored"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert places.cache() == Path("/xdg/penstock")
    monkeypatch.setenv(places.CACHE, "~/mine")
    assert places.cache() == Path("/home/me/mine")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ProfileError, match=places.CACHE):
        places.cache()
