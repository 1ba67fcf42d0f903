"""The maps of `users.py` in process: no database, no API."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from people import DEFECTS, person, spoil

from penstock import pipeline as pipelines
from penstock import testing

HERE = Path(__file__).parent.parent


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> pipelines.Pipeline:
    monkeypatch.delenv("KAFKA_TOPIC", raising=False)
    return pipelines.load(HERE / "users.py")


def page(*people: object) -> str:
    return json.dumps({"results": people, "info": {"seed": "x"}})


def test_a_person_becomes_a_user(users: pipelines.Pipeline) -> None:
    someone = person(Random(1))
    result = testing.run(users, [page(someone)])
    (user,) = result["created_users@warehouse"]
    street = someone["location"]["street"]
    assert user["id"] == someone["login"]["uuid"]
    assert user["address"].startswith(f"{street['number']} {street['name']}, ")
    assert user["post_code"] == str(someone["location"]["postcode"])
    assert user["picture"] == someone["picture"]["medium"]
    assert user["date_added"] is not None
    assert result["created_users@serving"] == [user]


def test_a_post_code_keeps_its_zeros(users: pipelines.Pipeline) -> None:
    someone = person(Random(1))
    someone["location"]["postcode"] = "0042"
    result = testing.run(users, [page(someone)])
    assert result["created_users@warehouse"][0]["post_code"] == "0042"


def test_women_are_filtered(users: pipelines.Pipeline) -> None:
    people = [person(Random(n)) for n in range(50)]
    result = testing.run(users, [page(*people)])
    women = {p["login"]["uuid"] for p in people if p["gender"] == "female"}
    assert {row["id"] for row in result["women"]} == women
    assert result.count("women").filtered == 50 - len(women)


@pytest.mark.parametrize("nth", range(len(DEFECTS)))
def test_a_defect_costs_one_record(users: pipelines.Pipeline, nth: int) -> None:
    people = [person(Random(n)) for n in range(3)]
    spoil(people[1], nth)
    result = testing.run(users, [page(*people)])
    assert len(result["created_users@warehouse"]) == 2
    (letter,) = result.letters
    assert letter.position.index == 1
    assert letter.cause.field.startswith(DEFECTS[nth][0].split(".")[0])


@pytest.mark.parametrize("body", [b"", b"<html>", page(person(Random(1)))[:200], b'{"error": 1}'])
def test_an_answer_that_is_no_list_of_people_is_one_dead_letter(
    users: pipelines.Pipeline, body: bytes
) -> None:
    result = testing.run(users, [body])
    assert len(result.letters) == 1
    assert result["created_users@warehouse"] == []


def test_a_newer_version_of_a_person_wins(users: pipelines.Pipeline) -> None:
    older, newer = person(Random(1)), person(Random(1))
    newer["email"] = "new@example.com"
    result = testing.run(users, [page(older), page(newer)])
    (user,) = result["created_users@warehouse"]
    assert user["email"] == "new@example.com"
    assert result.count("created_users@warehouse").superseded == 1
