"""The pipeline on records that are given, in this process: no database, no topic."""

from penstock import testing
from pipeline import pipeline

ID = "6f1c9d1e-5a0b-4f7c-9a55-0c6a3f1d2b11"
PAYMENT = {"id": ID, "account": "ada", "amount": 12.5, "currency": "EUR"}


def test_a_payment_is_a_row() -> None:
    result = testing.run(pipeline, [PAYMENT])
    assert [row["account"] for row in result["payments"]] == ["ada"]


def test_only_euros_are_euros() -> None:
    result = testing.run(pipeline, [PAYMENT | {"currency": "USD"}])
    assert result["euro_payments"] == []
    assert result.count("euro_payments").filtered == 1


def test_a_delete_takes_the_row_away() -> None:
    result = testing.run(pipeline, [PAYMENT, testing.delete(id=ID)])
    assert result["payments"] == []


def test_what_does_not_fit_is_a_dead_letter() -> None:
    result = testing.run(pipeline, [PAYMENT | {"amount": -1}])
    [letter] = result.letters
    assert letter.cause.field == "amount"
