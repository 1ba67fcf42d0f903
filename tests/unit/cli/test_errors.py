import json

import pytest
import typer
from typer.testing import CliRunner

from penstock import errors
from penstock.cli import output
from penstock.cli.main import app


def raised(error: Exception, *, as_json: bool = False) -> int:
    with pytest.raises(typer.Exit) as exited, output.errors_as_exit_codes(as_json):
        raise error
    return exited.value.exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CheckError(["no"]), 1),
        (errors.PlanFailed("the map fails"), 1),
        (errors.DeclarationError("no such field", file="users.py", line=3), 2),
        (errors.ProfileError("no such profile"), 2),
        (errors.Unavailable("PostgreSQL is away"), 3),
    ],
)
def test_an_error_is_one_message_and_its_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raised(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"penstock: {error}\n"


def test_a_declaration_error_names_file_and_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = errors.DeclarationError("no such field", file="users.py", line=3)
    raised(error, as_json=True)
    out, err = capsys.readouterr()
    assert "users.py:3: no such field" in err
    assert json.loads(out)["error"] == {
        "kind": "DeclarationError",
        "message": "no such field",
        "file": "users.py",
        "line": 3,
    }


def test_a_bug_says_where_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert raised(ValueError("oops")) == 1
    err = capsys.readouterr().err
    assert "internal error: ValueError: oops" in err
    assert "test_errors.py" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "debug", True)
    raised(errors.Unavailable("away"))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "x.py", "--for", "soon"],
        ["run", "x.py", "--for", "0s"],
        ["deadletters", "show", "cause=x"],
        ["deadletters", "discard", "--reason", "why"],
        ["deadletters", "discard", "3", "--all", "--reason", "why"],
        ["deadletters", "discard", "3", "--reason", " "],
        ["deadletters", "discard", "3"],
        ["crashtest", "x.py", "--kills", "0"],
        ["nonsense"],
    ],
)
def test_wrong_use_is_2(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2


def test_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.output.startswith("penstock ")
    assert done.exit_code == 0
