from __future__ import annotations

import functools

import polars as pl
import pytest

import penstock as ps
from penstock.contract import spec
from penstock.errors import DeclarationError
from penstock.site import Site
from penstock.transforms import Explode, Filter, Map

SITE = Site("program.py", 7)


class Basket(ps.Contract):
    id: str
    items: list[str | None]


class Item(ps.Contract):
    id: str
    items: str | None


def named(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


class Callable:
    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (named, "named"),
        (functools.partial(functools.partial(named)), "named"),
        (lambda f: f, "<lambda>"),
        (Callable(), "Callable"),
    ],
)
def test_a_map_is_called_what_its_function_is(fn: object, name: str) -> None:
    assert Map(SITE, spec(Item), spec(Item), fn).name == name  # type: ignore[arg-type]


async def later(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def test_a_map_does_not_run_later() -> None:
    with pytest.raises(DeclarationError, match=r"^program\.py:7: later is async"):
        Map(SITE, spec(Item), spec(Item), later)


def test_explode_gives_a_row_for_each_element() -> None:
    baskets = pl.DataFrame(
        {"id": ["a", "b", "c", "d"], "items": [["x", None], [], None, ["y"]]},
        schema=spec(Basket).polars,
    )
    made = Explode(SITE, spec(Basket), spec(Item), "items").apply(baskets)
    assert made.rows.rows() == [("a", "x"), ("a", None), ("d", "y")]
    assert made.rows.schema == spec(Item).polars
    assert made.parents.to_list() == [0, 0, 3]
    assert made.children.to_list() == [0, 1, 0]
    assert made.failures == []


def test_explode_keeps_the_nullability_of_elements() -> None:
    class Strict(ps.Contract):
        id: str
        items: str

    with pytest.raises(DeclarationError, match=r"Strict\.items may be null: add `\| None`"):
        Explode(SITE, spec(Basket), spec(Strict), "items")


def test_a_filter_tells_true_from_false_and_null() -> None:
    items = pl.DataFrame({"id": ["a", "b", "c"], "items": ["x", None, "z"]})
    kept = Filter(SITE, spec(Item), pl.col("items") == "x").compute(items)
    assert kept.to_series().to_list() == [True, False, False]
    assert Filter(SITE, spec(Item), pl.lit(True)).compute(items).height == 3
