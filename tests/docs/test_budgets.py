"""The budgets of CONTRIBUTING.md, counted."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.docs.markdown import ROOT

SOURCE = sorted((ROOT / "src").rglob("*.py"))
MODULE_LINES, INIT_LINES, FUNCTION_LINES, PARAMETERS, NESTING = 400, 60, 40, 5, 3
EXCEPTIONS = {
    "src/penstock/__init__.py": 120,  # a line for each public name: for types, as a list, where
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(file: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, Function):
            yield node


def place(file: Path, node: Function) -> str:
    return f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"


def length(node: Function) -> int:
    first = node.body[0]
    docstring = (
        (first.end_lineno or 0) - first.lineno + 1
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        else 0
    )
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def depth(node: ast.AST) -> int:
    nested = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match)
    deepest = 0
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for child in children:
            if not isinstance(child, ast.AST) or isinstance(child, Function):
                continue
            is_elif = isinstance(node, ast.If) and field == "orelse" and isinstance(child, ast.If)
            step = int(isinstance(child, nested) and not is_elif)
            deepest = max(deepest, step + depth(child))
    return deepest


def most_lines(file: Path) -> int:
    usual = INIT_LINES if file.name == "__init__.py" else MODULE_LINES
    return EXCEPTIONS.get(str(file.relative_to(ROOT)), usual)


def test_modules_are_short() -> None:
    lines = {file: len(file.read_text().splitlines()) for file in SOURCE}
    long = {str(f.relative_to(ROOT)): n for f, n in lines.items() if n > most_lines(f)}
    assert long == {}


def test_no_module_is_named_for_leftovers() -> None:
    assert [f for f in SOURCE if f.stem in {"utils", "util", "helpers", "misc", "common"}] == []


def test_functions_are_short() -> None:
    long = {
        place(file, node): length(node)
        for file in SOURCE
        for node in functions(file)
        if length(node) > FUNCTION_LINES
    }
    assert long == {}


def test_functions_have_few_parameters() -> None:
    many = {}
    for file in SOURCE:
        if file.parent.name == "cli":
            continue
        for node in functions(file):
            names = [
                a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            ]
            given = [n for n in names if n not in {"self", "cls"}]
            if len(given) > PARAMETERS and node.name != "__init__":
                many[place(file, node)] = len(given)
    assert many == {}


def test_functions_nest_little() -> None:
    deep = {
        place(file, node): depth(node)
        for file in SOURCE
        for node in functions(file)
        if depth(node) > NESTING
    }
    assert deep == {}
