from __future__ import annotations

import penstock as ps
from penstock import plan
from penstock.profile import Profile, Store


class Row(ps.Contract):
    id: str = ps.key()


def test_an_unknown_store_is_found_with_the_line_of_its_sink() -> None:
    pipeline = ps.Pipeline("p")
    stream = pipeline.topic("t", Row)
    stream.sink("a", store="warehouse")
    stream.sink("b", store="lake")
    stream.topic("u")
    segments = plan.compile(pipeline)
    stores = {"warehouse": Store("warehouse", "postgresql://h/d")}
    profile = Profile("cluster", "postgresql://h/d", "postgresql://h/d", stores=stores)
    (error,) = plan.validate(segments, profile)
    lane = segments[0].lane("b@lake")
    assert str(error).startswith(f"{__file__}:{lane.line}: profile 'cluster' has no store 'lake'")
    assert plan.validate(segments, Profile("embedded", "embedded:", "embedded:")) == []
