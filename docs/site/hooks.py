"""What the site needs and pages do not say: the navigation, and Markdown as GitHub reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent

# Each part of the navigation: its folder or pages, and those that come first. What is not named
# joins its folder's part in the order of titles, so that a new page is there without an entry.
FIRST = {
    "How to": [
        "howto/new-project.md",
        "howto/testing.md",
        "howto/reload.md",
        "howto/dead-letters.md",
        "howto/change-a-contract.md",
        "howto/crash-test.md",
        "howto/troubleshooting.md",
        "howto/own-postgresql.md",
        "howto/services.md",
        "howto/kafka.md",
        "howto/registry.md",
        "howto/cassandra.md",
        "howto/spark.md",
        "howto/parity.md",
    ],
    "Reference": [
        "reference/program.md",
        "reference/command.md",
        "reference/types.md",
        "reference/json.md",
    ],
    "Explanation": [
        "architecture.md",
        "guarantees.md",
        "benchmarks.md",
        "scaling.md",
    ],
    "Coming from": [],
}
FOLDERS = {
    "How to": ["howto"],
    "Reference": ["reference"],
    "Explanation": [".", "decisions"],
    "Coming from": ["coming-from"],
}
ALONE = ["index.md", "tutorial.md"]
FENCE = re.compile(r"^```(\w+)[ ]+(\S+)[ ]*$")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\.?/[^)\s#]+)[^)\s]*\)")
LIST = re.compile(r"^([*-]|\d+\.) ")


def navigation() -> list[Any]:
    """Every page, in parts."""
    parts: list[Any] = [{"Start": "index.md"}, {"Tutorial": "tutorial.md"}]
    for part, first in FIRST.items():
        here = [
            str(page.relative_to(DOCS))
            for folder in FOLDERS[part]
            for page in (DOCS / folder).glob("*.md")
        ]
        there = [page for page in first if page in here]
        others = sorted(set(here) - set(first) - set(ALONE), key=lambda page: title(DOCS / page))
        decisions = sorted(page for page in here if page.startswith("decisions/"))
        plain = [*there, *(page for page in others if page not in decisions)]
        index = "decisions/README.md"
        nested = [index, *(page for page in decisions if page != index)]
        parts.append({part: [*plain, {"Decisions": nested}] if decisions else plain})
    folders = {folder for these in FOLDERS.values() for folder in these}
    lost = {page.parent.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - folders
    if lost:
        raise SystemExit(f"docs/site/hooks.py: name the part of {sorted(lost)} in FOLDERS")
    return parts


def title(page: Path) -> str:
    """A page's first heading."""
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].strip("`") if found else page.stem


def on_config(config: Any) -> Any:
    """Give MkDocs the navigation."""
    config.nav = navigation()
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn what GitHub reads into what MkDocs reads."""
    folder = (DOCS / page.file.src_uri).parent
    out: list[str] = []
    fenced = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            fenced = not fenced
            out.append(_fence(line))
        elif fenced:
            out.append(line)
        else:
            if LIST.match(line) and out and out[-1].strip() and not _in_list(out[-1]):
                out.append("")
            out.append(LINK.sub(lambda link: _inside(link, folder), line))
    return "\n".join(out) + "\n"


def _in_list(line: str) -> bool:
    return bool(LIST.match(line)) or line.startswith(" ")


def _fence(line: str) -> str:
    """A file's name becomes the block's title; `example` is for our tests only."""
    found = FENCE.match(line)
    if found is None:
        return line
    return f"```{found[1]}" if found[2] == "example" else f'```{found[1]} title="{found[2]}"'


def _inside(link: re.Match[str], folder: Path) -> str:
    """A link to what is in the repository but not on the site becomes its name."""
    target = (folder / link[2]).resolve()
    if target.is_relative_to(DOCS):
        return link[0]
    return f"{link[1]} (`{target.relative_to(ROOT)}` in the repository)"
