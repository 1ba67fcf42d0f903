"""Rows that the plan accepts and a table does not: dead for it alone, until it takes them."""

from __future__ import annotations

import base64
import json
import random
import string

from tests.live.project import Project

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    email: str
    age: int

pipeline = ps.Pipeline("people")
users = pipeline.source(ps.Files("users.ndjson"), User, land="raw").topic("users")
users.sink("users", store="one")
users.sink("users", store="two")
users.sink("all_users", store="one", mode="append")
"""
RULES = """
ALTER TABLE one.users ADD CONSTRAINT grown CHECK (age >= 18);
ALTER TABLE one.users ADD CONSTRAINT one_each UNIQUE (email);
ALTER TABLE one.users ADD months int GENERATED ALWAYS AS (age * 12) STORED;
CREATE FUNCTION one.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF new.age = 66 THEN RAISE EXCEPTION 'no %s!', 66 USING ERRCODE = 'MY001'; END IF;
    IF new.age = 67 THEN PERFORM 1 / (new.age - 67); END IF;
    RETURN new;
END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON one.users
FOR EACH ROW EXECUTE FUNCTION one.refuse();
"""
MEND = """
DROP TRIGGER refuse ON one.users;
ALTER TABLE one.users DROP CONSTRAINT grown, DROP CONSTRAINT one_each, DROP COLUMN months
"""


def user(number: int, **changed: object) -> dict[str, object]:
    return {"id": str(number), "email": f"{number}@x.org", "age": 20 + number % 40} | changed


def test_rows_that_a_table_rejects(project: Project) -> None:
    project.write(PROGRAM)
    (project.path / "users.ndjson").touch()
    project.run()
    project.rows(RULES)
    chance = random.Random(7)
    huge = "".join(chance.choices(string.ascii_letters, k=9000))
    users = [user(number) for number in range(400)]
    bad = [
        user(400, age=3),
        user(401, age=17),
        user(402, age=66),
        user(403, age=67),
        user(404, age=2**40),
        user(405, email="7@x.org"),
        user(406, id=huge),
    ]
    for number, one in enumerate(bad):
        users.insert(50 * number + 20, one)
    (project.path / "users.ndjson").write_text("\n".join(map(json.dumps, users)))
    project.run()
    project.balance()
    letters = project.json("deadletters", "show", "--limit", "100")["letters"]
    found = sorted(
        (x["lane"], json.loads(base64.b64decode(x["record_base64"]))["id"]) for x in letters
    )
    assert found == sorted([*(("users@one", str(one["id"])) for one in bad), ("users@two", huge)])
    assert all(letter["stage"] == "store" and letter["detail"] for letter in letters)
    assert project.rows("SELECT count(*) FROM one.users") == [(400,)]
    assert project.rows("SELECT count(*) FROM two.users") == [(406,)]
    assert project.rows("SELECT count(*) FROM one.all_users") == [(407,)]

    project.rows(MEND)
    assert project.json("deadletters", "replay")["replayed"] == 8
    project.run()
    project.balance()
    assert project.rows("SELECT count(*) FROM one.users") == [(406,)]
    assert len(project.json("deadletters", "show")["letters"]) == 2
