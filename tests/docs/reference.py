# ruff: noqa: E501 - Markdown has long lines
"""Writes the pages of docs/reference that are generated: `python -m tests.docs.reference`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

from tests.docs.markdown import ROOT
from typer.main import get_command
from typer.testing import CliRunner

import penstock
from penstock.cli.cures import CURES
from penstock.cli.main import app
from penstock.pipeline import Merged, Stream

REFERENCE = ROOT / "docs" / "reference"
HEAD = """# The command

Generated from `--help` by `python -m tests.docs.reference`; a test compares the two.
What `--json` prints is described in [its JSON](json.md).

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the answer is no: not balanced, a check failed, the pipeline stopped with an error |
| 2 | wrong use, program or profile |
| 3 | a system could not be reached |
"""


def commands() -> Iterator[tuple[str, ...]]:
    """Every command as words, groups before their commands."""
    root = get_command(app)
    yield ()
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        yield (name,)
        for inner in getattr(command, "commands", {}):
            yield (name, inner)


def helped(words: tuple[str, ...]) -> str:
    done = CliRunner().invoke(
        app,
        [*words, "--help"],
        prog_name="penstock",
        env={"COLUMNS": "90", "PENSTOCK_PROFILE": ""},
        terminal_width=90,
    )
    assert done.exit_code == 0, done.output
    return done.output.rstrip()


def command_page() -> str:
    """`command.md` as it should be."""
    parts = [HEAD]
    for words in commands():
        title = " ".join(("penstock", *words))
        parts.append(f"## {title}\n\n```text\n{helped(words)}\n```\n")
    return "\n".join(parts)


PROGRAM_HEAD = """# The program

Generated from docstrings by `python -m tests.docs.reference`; a test compares the two.
Programs `import penstock as ps`. The types of fields are in [types](types.md).
"""
TITLE = re.compile(r"^(Args|Returns|Raises|Example|Examples):\s*(.*)$")
ITEM = re.compile(r"^    (\w[\w, ]*): (.*)$")


def documented(words: str) -> str:
    """A docstring as Markdown: sections get titles, their items become lists."""
    out: list[str] = []
    section = ""
    for line in inspect.cleandoc(words).splitlines():
        title, item = TITLE.match(line), ITEM.match(line)
        if title:
            section = title[1]
            out += [f"*{section}*", ""] + ([f"{title[2]}"] if title[2] else [])
        elif section.startswith("Example"):
            out.append(line if line.strip().startswith("`") is False else line.strip())
        elif section and item:
            out.append(f"- `{item[1]}`: {item[2]}")
        elif section:
            out.append(f"  {line.strip()}" if line.strip() else "")
        else:
            out.append(line)
    return "\n".join(out)


def signature(name: str, thing: object) -> str:
    """How it is called, without types: the docstring says what is meant."""
    parameters = [
        str(parameter.replace(annotation=inspect.Parameter.empty))
        for parameter in inspect.signature(thing).parameters.values()  # type: ignore[arg-type]
        if parameter.name != "self"
    ]
    return f"{name}({', '.join(parameters)})"


def entry(name: str) -> Iterator[str]:
    """One public name, and its methods when it is not a mere declaration."""
    thing = {"Stream": Stream, "Merged": Merged}.get(name) or getattr(penstock, name)
    yield f"## `{name}`\n"
    if not isinstance(thing, (type, FunctionType)):
        yield MARKS[name] + "\n"
        return
    if name != "Contract":
        yield f"```text\n{signature('ps.' + name, thing)}\n```\n"
    yield documented(thing.__doc__ or "") + "\n"
    if name in ("Pipeline", "Stream", "Merged"):
        for method, value in vars(thing).items():
            if isinstance(value, FunctionType) and not method.startswith("_"):
                yield f"### `{name}.{method}`\n"
                yield f"```text\n{signature(method, value)}\n```\n"
                yield documented(value.__doc__ or "") + "\n"


MARKS = {
    "Text": "A str that may come as a JSON number; the number's literal is kept: `007`, `1.50`.",
}


def program_page() -> str:
    """`program.md` as it should be."""
    names = FIRST + sorted(set(penstock.__all__) - set(FIRST), key=str.lower)
    return PROGRAM_HEAD + "\n" + "\n".join(part for name in names for part in entry(name))


TROUBLES_HEAD = """# Troubleshooting

Begin with `penstock check PROGRAM --profile NAME`. It dials everything that a run needs and changes nothing. Below what it
finds, it says what usually helps: the right column of this table, which `python -m tests.docs.reference` writes.

| what is wrong | you read | what helps |
|---|---|---|
"""
TROUBLES_TAIL = """
## When there is no message

| what you see | look at |
|---|---|
| the run waits | `penstock status` names the lane and what it waits for; other lanes go on |
| rows are missing | `penstock deadletters list`: records that did not fit, grouped by cause |
| you doubt the figures | `penstock reconcile PROGRAM --deep` compares every row, and names the first difference |
| a server that was started here died | `penstock services logs NAME` |
| `internal error` | a bug in Penstock: `penstock --debug …` shows the traceback |
| a second run does nothing | it stands by: another process holds the leases; `--take-over` fences that one |
| latencies are negative or minutes long | clocks: of the producers, too; `born` is the time that they wrote |

## When a start is refused

A refusal changes nothing. Read the sentence: it names what was found, and what to do. The exit code tells the kind:
1 for a no, 2 for a wrong program or profile, 3 for a system that is away ([exit codes](../reference/command.md)).
"""


def troubles_page() -> str:
    """`troubleshooting.md` as it should be."""
    rows = [
        f"| {c.symptom} | {', '.join(f'`{words}`' for words in c.words)} | {c.cure} |"
        for c in CURES
    ]
    return TROUBLES_HEAD + "\n".join(rows) + "\n" + TROUBLES_TAIL


FIRST = ["Contract", "key", "born", "Pipeline", "Stream", "Merged"]
PAGES = {
    "command.md": command_page,
    "program.md": program_page,
    "../howto/troubleshooting.md": troubles_page,
}


def write(folder: Path = REFERENCE) -> None:
    """Write every generated page."""
    for name, page in PAGES.items():
        (folder / name).write_text(page())


if __name__ == "__main__":
    write()
