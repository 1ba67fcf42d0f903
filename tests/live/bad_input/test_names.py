"""Hostile names work in every command, or are refused at `check`."""

from __future__ import annotations

import json

import pytest
from tests.live.project import Project

PROGRAM = """
import penstock as ps

NAMES = {names!r}
Row = type("Row", (ps.Contract,), {{
    "__annotations__": {{"id": str}} | dict.fromkeys({columns!r}, str),
    "__module__": __name__,
    "id": ps.key(),
}})
pipeline = ps.Pipeline({pipeline!r})
rows = pipeline.source(ps.Files("rows.ndjson"), Row, land={landing!r})
rows = rows.topic({topic!r}, partitions=2, key=({columns!r}[0], "id"))
for table in NAMES[1:]:
    rows.sink(table, store={store!r}, mode="append")
rows.sink(NAMES[0], store={store!r})
"""
NAMES = [
    'a "quoted" name',
    "it's; DROP TABLE x; --",
    "Ünïcödé 名前 😀",
    "100% {} %s %(a)s {0} :x $1 ${HOME}",
    "a.b/c\\d",
    "select",
    "Select",
    "SELECT",
    "a" * 63,
    "ä" * 31 + "x",
    "offset",
    "key",
    "name",
    "[red]x[/red]",
    "1",
]
COLUMNS = [
    "select",
    "Select",
    "SELECT",
    "a" * 63,
    "ä" * 31,
    "名前",
    "offset",
    "key",
    "name",
    "order",
]


def test_hostile_names_work(project: Project) -> None:
    store, topic, landing = 'a "store" 100%', "%s {} \"'\\ 😀", "ü" * 29
    project.stores[store] = project.url + "&schema=an%20%22odd%22%20%25%20one"
    project.settle()
    program = PROGRAM.format(
        names=NAMES,
        columns=COLUMNS,
        pipeline="[b]%s {}' \"",
        landing=landing,
        topic=topic,
        store=store,
    )
    project.write(program)
    good = [{"id": str(i)} | {name: f"{name} {i}" for name in COLUMNS} for i in range(5)]
    lines = [*map(json.dumps, good), '{"id": 1}']
    (project.path / "rows.ndjson").write_text("\n".join(lines))
    project.penstock("check", "program.py")
    project.run()
    project.balance()
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    for name in NAMES:
        table = '"' + name.replace('"', '""') + '"'
        found = project.rows(f'SELECT {columns} FROM "an ""odd"" % one".{table} ORDER BY id')
        assert found == [tuple(row[column] for column in COLUMNS) for row in good]
    assert landing in project.penstock("deadletters", "list").stdout.decode()
    assert topic in project.penstock("status").stdout.decode()
    assert project.json("deadletters", "replay", f"lane={topic}@log")["replayed"] == 1


@pytest.mark.parametrize(
    ("what", "said", "code"),
    [
        ({"pipeline": "a\nb"}, "control characters", 2),
        ({"landing": "a" * 64}, "64 bytes", 2),
        ({"columns": ["a" * 64]}, "64 bytes", 1),
        ({"columns": ["a b"]}, "is no Python name", 2),
        ({"columns": ["xmin"]}, "rename the field", 1),
    ],
)
def test_impossible_names_are_refused(
    project: Project, what: dict[str, object], said: str, code: int
) -> None:
    (project.path / "rows.ndjson").touch()
    usual = {"names": ["x"], "pipeline": "p", "landing": "l", "topic": "t", "store": "one"}
    project.write(PROGRAM.format(**{**usual, "columns": ["c"], **what}))
    refused = project.penstock("check", "program.py", code=code)
    print(what, refused)
    assert said in (refused.stdout + refused.stderr).decode()
