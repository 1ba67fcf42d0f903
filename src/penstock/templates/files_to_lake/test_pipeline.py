"""The pipeline on records that are given, in this process: no files, no lake."""

from penstock import testing
from pipeline import pipeline

EVENT = {"id": "e1", "kind": "view", "page": "/", "at": "2026-03-01T09:30:00Z"}


def test_an_event_gets_its_day() -> None:
    late = EVENT | {"at": "2026-03-01T23:30:00-02:00"}
    result = testing.run(pipeline, [EVENT, late])
    assert [row["day"] for row in result["events"]] == ["2026-03-01", "2026-03-02"]


def test_what_does_not_fit_is_a_dead_letter() -> None:
    result = testing.run(pipeline, [EVENT, EVENT | {"kind": "scroll"}])
    [letter] = result.letters
    assert letter.cause.field == "kind"
    assert len(result["events"]) == 1
