"""The pipeline on records that are given, in this process: no database, no API."""

from penstock import testing
from pipeline import pipeline

ORDER = {
    "id": "A-1",
    "customer": {"name": "Ada", "country": "GB"},
    "total": 130,
    "placed": "2026-03-01T09:30:00Z",
}


def test_an_order_is_flattened() -> None:
    [row] = testing.run(pipeline, [ORDER])["orders@warehouse"]
    assert (row["id"], row["customer"], row["country"]) == ("A-1", "Ada", "GB")


def test_the_newest_version_of_an_order_wins() -> None:
    result = testing.run(pipeline, [ORDER, ORDER | {"total": 140}])
    assert [row["total"] for row in result["orders@warehouse"]] == [140]


def test_only_large_orders_are_large() -> None:
    small = ORDER | {"id": "A-2", "total": 99.99}
    result = testing.run(pipeline, [ORDER, small])
    assert [row["id"] for row in result["large_orders"]] == ["A-1"]
    assert result.count("large_orders").filtered == 1


def test_what_does_not_fit_is_a_dead_letter() -> None:
    result = testing.run(pipeline, [ORDER, ORDER | {"total": "free"}])
    [letter] = result.letters
    assert letter.cause.field == "total"
    assert len(result["orders@warehouse"]) == 1
