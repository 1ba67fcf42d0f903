"""The walk over an API's places, without I/O: it ends, and passes nothing over silently."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.sources.chains import Cursors, next_link
from penstock.sources.pagination import Offsets, Once, Page, Pages, Pagination
from penstock.sources.walk import ATTEMPTS, Walk


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
        now = Walk(**(json.loads(json.dumps(cursor)) or {"at": pages.first}))
        asked.append(int(now.at))
        given = answers.get(asked[-1], [0])
        count = given.pop(0) if len(given) > 1 else given[0]
        after = now.read(Page(count), pages)
        cursor = after.cursor()
        if after.ended:
            return asked
    raise AssertionError(f"the walk does not end: {asked}")


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_offsets_ask_for_every_record_whatever_the_server_gives_at_once(
    records: int, limit: int, cap: int, growing: bool
) -> None:
    pages = Offsets(limit=limit, growing=growing)
    given = {at: [min(limit, cap, records - at)] for at in range(records)}
    asked = walk(pages, {at: list(counts) for at, counts in given.items()}, records + 2)
    covered = [n for at in asked for n in range(at, at + given.get(at, [0])[0])]
    assert covered == list(range(records))


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 50))
def test_pages_of_any_size_are_all_asked_for(records: int, size: int, cap: int) -> None:
    step = min(size, cap)
    full, rest = divmod(records, step)
    counts = [step] * full + ([rest] if rest else [])
    for sized in (None, size):
        asked = walk(Pages(size=sized), {n: [c] for n, c in enumerate(counts, 1)}, 300)
        assert asked[: len(counts)] == list(range(1, len(counts) + 1))


@settings(deadline=None)
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


@settings(deadline=None)
@given(st.integers(0, 3))
def test_without_pagination_every_answer_ends_the_walk(count: int) -> None:
    assert Walk(0).read(Page(count), Once()).ended
    assert Walk(0, cut=2).read(Page(count), Once()).cursor() == {"at": 0}


# --- tokens and links ----------------------------------------------------------------------------


def chain(
    pages: Cursors, answers: dict[str, list[Page]], start: Walk, most: int = 200
) -> tuple[list[str], Walk]:
    """Walk once by tokens; the tokens asked for, and where the next walk begins."""
    asked: list[str] = []
    now = start
    for _ in range(most):
        asked.append(str(now.at))
        given = answers.get(asked[-1], [Page(0)])
        page = given.pop(0) if len(given) > 1 else given[0]
        now = Walk(**json.loads(json.dumps(now.read(page, pages).cursor())))
        if now.ended:
            return asked, now
    raise AssertionError(f"the walk does not end: {asked}")


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_a_chain_of_tokens_is_walked_whole_even_over_empty_pages(counts: list[int]) -> None:
    tokens = ["", *(f"t{n}" for n in range(1, len(counts)))]
    following = [*tokens[1:], None]
    answers = {t: [Page(c, f)] for t, c, f in zip(tokens, counts, following, strict=True)}
    asked, after = chain(Cursors("next"), answers, Walk(""))
    assert asked == tokens
    assert after == Walk("")


@settings(deadline=None)
@given(st.lists(st.integers(1, 3), max_size=10), st.booleans())
def test_a_growing_chain_goes_on_with_its_last_token(counts: list[int], ends: bool) -> None:
    """A feed ends with an answer without records, which names a token to come again with or not."""
    pages = Cursors("next", growing=True)
    answers = {str(n or ""): [Page(count, str(n + 1))] for n, count in enumerate(counts)} | {
        str(len(counts) or ""): [Page(0, None if ends else "later")]
    }
    asked, after = chain(pages, answers, Walk(""))
    assert asked == [str(n or "") for n in range(len(counts) + 1)]
    assert after.at == (asked[-1] if ends else "later")


def test_a_token_that_names_itself_ends_the_walk() -> None:
    asked, _ = chain(Cursors("next"), {"": [Page(1, "a")], "a": [Page(1, "a")]}, Walk(""))
    assert asked == ["", "a"]


def test_an_answer_that_cannot_be_read_is_never_passed_over_without_its_token() -> None:
    pages = Cursors("next")
    walk = Walk("a", asked=1, count=2)
    for bad in (1, 2, 3):
        walk = walk.read(Page(None), pages)
        assert (walk.at, walk.bad) == ("a", bad)
    assert walk.read(Page(None), pages) is walk
    assert walk.read(Page(2, "b"), pages) == Walk("b", asked=2, count=2)
    assert walk.read(Page(None, "b"), pages) == Walk("b", asked=2, count=2)


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<https://a/b?page=2>; rel="next"', "https://a/b?page=2"),
        ("</b>; rel=next", "/b"),
        ('<https://a/1>; rel="prev", <https://a/3>; rel="next"', "https://a/3"),
        ('<https://a/1>; title="a, <b>; rel=next"; rel=prev , <x>; REL="last NEXT"', "x"),
        ('<a,b;c>; rel="next"', "a,b;c"),
        ('<a>; anchor="#x"; rel="next"', None),
        ('<a>; rel="nextone"', None),
        ('<a>; rel="prev"', None),
        ("", None),
        ("nonsense", None),
        ('<>; rel="next"', ""),
    ],
)
def test_links(header: str, target: str | None) -> None:
    assert next_link(header) == target
