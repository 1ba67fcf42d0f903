"""What a crash test makes is removed, also when it ends with an error."""

from __future__ import annotations

import pytest

from penstock.engines.trials import ground
from penstock.logs.kafka import aside
from penstock.serdes.registry import Registry


def test_topics_and_subjects_are_removed_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []
    monkeypatch.setattr(aside, "_delete", lambda _, namespace: removed.append(namespace))
    monkeypatch.setattr(Registry, "forget", lambda _, beginning: removed.append(beginning))
    with (
        pytest.raises(ZeroDivisionError),
        aside.made("kafka://127.0.0.1:9", "crash"),
        ground._forgotten("http://127.0.0.1:9", "crash"),
    ):
        raise ZeroDivisionError
    assert removed == ["crash_", "crash"]
