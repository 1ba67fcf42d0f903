"""The walk over an API's places, without I/O: it ends, and passes nothing over silently."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from penstock.sources.pagination import ATTEMPTS, Offsets, Once, Pages, Pagination, Walk


def walk(pages: Pagination, answers: dict[int, list[int | None]], total: int) -> list[int]:
    """Walk once, with a crash (a cursor through JSON) after each answer; the places asked for.

    Args:
        pages: The pagination.
        answers: For a place the counts it gives one after the other; the last one stays. None is
            an answer that cannot be read.
        total: Bound on the number of requests.
    """
    asked: list[int] = []
    cursor = None
    for _ in range(total):
        now = Walk.begin(json.loads(json.dumps(cursor)), pages)
        asked.append(now.at)
        given = answers.get(now.at, [0])
        count = given.pop(0) if len(given) > 1 else given[0]
        after = now.unreadable(pages) if count is None else now.read(count, pages)
        cursor = after.cursor()
        if after.ended:
            return asked
    raise AssertionError(f"the walk does not end: {asked}")


@given(st.integers(0, 300), st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_offsets_ask_for_every_record_whatever_the_server_gives_at_once(
    records: int, limit: int, cap: int, growing: bool
) -> None:
    pages = Offsets(limit=limit, growing=growing)
    given = {at: [min(limit, cap, records - at)] for at in range(records)}
    asked = walk(pages, {at: list(counts) for at, counts in given.items()}, records + 2)
    covered = [n for at in asked for n in range(at, at + given.get(at, [0])[0])]
    assert covered == list(range(records))


@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 50))
def test_pages_of_any_size_are_all_asked_for(records: int, size: int, cap: int) -> None:
    step = min(size, cap)
    full, rest = divmod(records, step)
    counts = [step] * full + ([rest] if rest else [])
    for sized in (None, size):
        asked = walk(Pages(size=sized), {n: [c] for n, c in enumerate(counts, 1)}, 300)
        assert asked[: len(counts)] == list(range(1, len(counts) + 1))


@given(st.lists(st.lists(st.sampled_from([3, None]), min_size=1, max_size=5), max_size=12))
def test_bad_answers_never_make_a_walk_endless_or_skip_a_page_silently(
    script: Sequence[list[int | None]],
) -> None:
    asked = walk(Pages(), {n: list(a) for n, a in enumerate(script, 1)}, 200)
    places = list(dict.fromkeys(asked))
    assert places == list(range(1, len(places) + 1))
    for n, answers in enumerate(script[: len(places) - 1], 1):
        read = next((i for i, count in enumerate(answers) if count is not None), ATTEMPTS)
        assert asked.count(n) == min(read + 1, ATTEMPTS)


@given(st.integers(0, 3))
def test_without_pagination_every_answer_ends_the_walk(count: int) -> None:
    assert Walk(0).read(count, Once()).ended
    assert Walk(0, cut=2).read(count, Once()).cursor() == {"at": 0}
