"""What the tests of the documentation read from a Markdown file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\S+)?[ ]*(.*)$")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words after it, its text and where it stands."""

    language: str
    words: tuple[str, ...]
    text: str
    page: Path
    line: int


def pages() -> list[Path]:
    """Every page that a reader may open."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [
        *top,
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted(ROOT.glob("examples/*/*.md")),
        ROOT / "deploy" / "README.md",
    ]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    found: list[Block] = []
    opened: tuple[str, tuple[str, ...], int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, lines = (fence[1] or "", tuple(fence[2].split()), number), []
        elif opened is not None and line == "```":
            found.append(Block(opened[0], opened[1], "\n".join(lines) + "\n", page, opened[2]))
            opened = None
        else:
            lines.append(line)
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks and without `code`."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def links(page: Path) -> list[str]:
    """The targets of a page's links."""
    return LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors that headings give, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        for heading in HEADING.findall(text)
    }
