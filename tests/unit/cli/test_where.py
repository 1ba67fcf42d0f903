import pytest
from typer import BadParameter

from penstock.cli.where import Where, parse


def test_nothing_is_everything() -> None:
    assert parse([]).everything
    assert parse(None) == Where()


def test_each_word_narrows() -> None:
    where = parse(["cause=3", "lane=a=b@store", "segment=users", "position=0:12:4", "17", "18"])
    assert where == Where("users", "a=b@store", 3, (0, 12, 4), [17, 18])
    assert not where.everything


@pytest.mark.parametrize(
    "word",
    ["x", "-1", "cause=", "cause=x", "position=1", "position=a:b", "state=dead", "١٧", ""],
)
def test_what_is_no_choice_is_refused(word: str) -> None:
    with pytest.raises(BadParameter):
        parse([word])
