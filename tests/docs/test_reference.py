import ast
import json
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from tests.docs.markdown import ROOT, blocks, pages
from tests.docs.reference import PAGES, REFERENCE, commands, helped

import penstock
from penstock import interfaces
from penstock.contract import Constraint
from penstock.sources.credentials import Auth
from penstock.sources.pagination import Pagination


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_as_the_code_is(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run `python -m tests.docs.reference`"


def test_every_public_name_is_documented() -> None:
    page = (REFERENCE / "program.md").read_text()
    assert [name for name in penstock.__all__ if f"`{name}`" not in page] == []


def test_the_json_page_describes_every_command_with_json() -> None:
    page = (ROOT / "docs/reference/json.md").read_text()
    leaves = [" ".join(words) for words in commands() if words and "--json" in helped(words)]
    assert [words for words in leaves if f"`{words}`" not in page] == []


def test_json_blocks_are_json() -> None:
    for page in pages():
        for block in blocks(page):
            if block.language == "json":
                json.loads(block.text)


def test_the_changelog_begins_with_this_version() -> None:
    found = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == version("penstock")


def test_decisions_are_indexed() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text()
    others = [f.name for f in folder.glob("*.md") if f.name != "README.md"]
    assert [name for name in others if f"({name})" not in index] == []


def public_methods() -> list[tuple[str, str]]:
    found = []
    for name in penstock.__all__:
        thing = getattr(penstock, name)
        if not isinstance(thing, type):
            continue
        for attribute, value in vars(thing).items():
            plain = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
            if not attribute.startswith("_") and callable(plain):
                found.append((name, attribute))
    return found


INTERFACES = (interfaces.Source, interfaces.Clock, Constraint, Pagination, Auth)


def inherits_its_words(method: str) -> bool:
    """An implementation speaks through the interface that it implements."""
    return any(hasattr(interface, method) for interface in INTERFACES)


def test_public_methods_have_docstrings() -> None:
    silent = []
    for name, method in public_methods():
        owner = getattr(penstock, name)
        if not getattr(owner, method).__doc__ and not inherits_its_words(method):
            silent.append(f"{name}.{method}")
    assert silent == []


def test_public_names_have_docstrings() -> None:
    assert [n for n in penstock.__all__ if not (getattr(penstock, n).__doc__ or "").strip()] == []


@pytest.mark.parametrize("module", sorted((ROOT / "src").rglob("*.py")), ids=lambda m: m.stem)
def test_modules_say_what_they_are(module) -> None:  # type: ignore[no-untyped-def]
    assert ast.get_docstring(ast.parse(module.read_text())), "a module opens with its purpose"


def test_help_imports_nothing_heavy() -> None:
    heavy = {"polars", "pyarrow", "psycopg", "httpx", "rich", "structlog", "msgspec"}
    code = (
        "import sys; from typer.testing import CliRunner; from penstock.cli.main import app;"
        "before = set(sys.modules); CliRunner().invoke(app, ['run', '--help']);"
        f"print(sorted(set(sys.modules) & {heavy}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
