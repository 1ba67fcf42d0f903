"""`penstock services`: the servers that Penstock starts on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from penstock.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from penstock.services.postgresql import EmbeddedPostgresql, Status

app = typer.Typer(
    no_args_is_help=True,
    help="Start, stop and look into the PostgreSQL here.",
)


@app.command()
def up(json: options.Json = False) -> None:
    """Start PostgreSQL under .penstock/ and let it run until `services down`."""
    with output.errors_as_exit_codes(json):
        server = _server()
        server.up()
        _show(server.status(), json)


@app.command()
def down(json: options.Json = False) -> None:
    """Stop PostgreSQL cleanly; the data stays. Refused while a command uses it."""
    with output.errors_as_exit_codes(json):
        server = _server()
        server.down()
        _show(server.status(), json)


@app.command()
def status(json: options.Json = False) -> None:
    """Say whether PostgreSQL runs and how to look into it; starts nothing."""
    with output.errors_as_exit_codes(json):
        _show(_server().status(), json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql on it; whatever follows goes to psql, such as -c 'SELECT 1'.

    PostgreSQL is started if it does not run, and stays while psql is open.
    """
    with output.errors_as_exit_codes(as_json=False):
        import shlex
        import subprocess

        server = _server()
        with server.session():
            line = shlex.split(server.psql(*context.args))
            done = subprocess.run(line, check=False)  # noqa: S603 - the user's own words
        raise typer.Exit(done.returncode)


def _server() -> EmbeddedPostgresql:
    from penstock.services.postgresql import EmbeddedPostgresql

    return EmbeddedPostgresql(options.data())


def _show(found: Status, as_json: bool) -> None:
    document = {
        "name": "postgresql",
        "running": found.running,
        "kept": found.kept,
        "used": found.used,
        "url": found.url,
        "pid": found.pid,
        "data": str(found.data),
        "log": str(found.log),
        "psql": _server().psql() if found.running else None,
    }
    output.answer(document, _lines(found), as_json=as_json)


def _lines(found: Status) -> RenderableType:
    if not found.running:
        return f"postgresql  stopped\n  data      {found.data}"
    stays = "until `penstock services down`" if found.kept else "while a command uses it"
    return "\n".join(
        [
            f"postgresql  running (process {found.pid}), {stays}",
            f"  data      {found.data}",
            f"  log       {found.log}",
            f"  psql      {_server().psql()}",
        ]
    )
