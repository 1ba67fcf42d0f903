"""The imitation answers as https://randomuser.me/api/ does, and makes the trouble it is told to."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from api import Api, Trouble


def get(api: Api, **query: object) -> dict[str, Any]:
    return httpx.get(api.url, params={k: str(v) for k, v in query.items()}).json()


def test_a_person_has_the_fields_of_the_api(api: Api) -> None:
    (someone,) = get(api)["results"]
    assert list(someone) == [
        "gender", "name", "location", "email", "login", "dob", "registered", "phone", "cell", "id",
        "picture", "nat",
    ]  # fmt: skip
    assert list(someone["location"]) == [
        "street", "city", "state", "country", "postcode", "coordinates", "timezone",
    ]  # fmt: skip
    assert someone["dob"]["date"].endswith("Z")


def test_the_same_seed_and_page_give_the_same_people(api: Api) -> None:
    one = get(api, results=5, page=2, seed="abc")
    assert one == get(api, results=5, page=2, seed="abc")
    assert one["info"] == {"seed": "abc", "results": 5, "page": 2, "version": "1.4"}
    assert one["results"] != get(api, results=5, page=3, seed="abc")["results"]


def test_without_a_seed_each_answer_is_new_and_every_start_the_same(api: Api) -> None:
    first, second = get(api, results=3), get(api, results=3)
    assert first["results"] != second["results"]
    with_seed = get(api, results=3, seed=first["info"]["seed"])
    assert with_seed["results"] == first["results"]


def test_postcodes_are_numbers_and_strings_and_names_are_not_ascii(api: Api) -> None:
    people = get(api, results=300, seed="x")["results"]
    assert {type(p["location"]["postcode"]) for p in people} == {int, str}
    assert any(not p["name"]["last"].isascii() for p in people)
    assert len({p["login"]["uuid"] for p in people}) == 300
    assert {p["gender"] for p in people} == {"female", "male"}


def test_choices(api: Api) -> None:
    people = get(api, results=20, nat="fr,no", gender="female", inc="nat,gender")["results"]
    assert {p["nat"] for p in people} == {"FR", "NO"}
    assert all(set(p) == {"gender", "nat"} for p in people)
    assert "info" not in get(api, noinfo="")
    assert get(api, results=6000)["info"]["results"] == 1


def test_other_paths_and_nonsense(api: Api) -> None:
    assert httpx.get(api.url.replace("/api/", "/")).status_code == 404
    assert httpx.get(api.url + "?results=many").status_code == 400


def test_failures_come_every_nth_time(api: Api) -> None:
    api.trouble = Trouble(fail=3, limit=4)
    answers = [httpx.get(api.url) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 500, 429]
    assert answers[3].headers["retry-after"] == "1"


def test_a_broken_connection(api: Api) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match=r"without sending complete"):
        httpx.get(api.url + "?cut=1&results=50")


def test_half_a_document_and_html(api: Api) -> None:
    with pytest.raises(json.JSONDecodeError):
        httpx.get(api.url + "?half=1").json()
    assert httpx.get(api.url + "?html=1").text.startswith("<!doctype html>")


def test_slow(api: Api) -> None:
    start = time.monotonic()
    httpx.get(api.url + "?slow=0.1")
    assert time.monotonic() - start >= 0.1


def test_bad_people_are_spoilt_in_many_ways(api: Api) -> None:
    bad = get(api, results=70, seed="x", bad=10)["results"]
    good = get(api, results=70, seed="x")["results"]
    assert [n for n in range(70) if bad[n] != good[n]] == [9, 19, 29, 39, 49, 59, 69]
