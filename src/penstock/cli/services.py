"""`penstock services`: the servers that Penstock starts on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import completing, options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from penstock.services.server import Service, State

app = typer.Typer(
    no_args_is_help=True,
    help="Start, stop and look into the servers here: Kafka, a schema registry, Cassandra, "
    "PostgreSQL, Spark and HDFS.",
)

_NAMES = "kafka, registry, cassandra, postgresql (on a port of 127.0.0.1), spark, hdfs"
_ALL = f"Some of {_NAMES} and embedded (that of the profile 'embedded'); without a name all."
Started = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        autocompletion=completing.services,
        help=f"Some of {_NAMES} and embedded (that of the profile 'embedded', which commands "
        "start by themselves); without a name all but these last three: spark needs a Java of "
        "the system's, and pyspark.",
    ),
]
Chosen = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", autocompletion=completing.services, help=_ALL),
]
Lines = Annotated[
    int, typer.Option("--lines", "-n", metavar="N", min=1, help="How many of the last lines.")
]

_IN_PROFILE = {
    "postgresql": 'home = "{}"',
    "kafka": 'log = "{}"',
    "registry": 'registry = "{}"',
    "cassandra": 'stores.serving = "{}/KEYSPACE"',
    "spark": 'engine = "{}"',
    "hdfs": 'stores.lake = "{}/FOLDER"',
}
"""How a profile names a server."""


@app.command()
def up(names: Started = None, json: options.Json = False) -> None:
    """Start servers, wait until they answer, and let them run until `services down`.

    Their ports, memory and folders are set under [services.NAME] in penstock.toml. Data is kept
    under .penstock/. One that runs already is left as it is, also if it was started elsewhere.
    """
    with output.errors_as_exit_codes(json):
        from penstock.profile import services_settings
        from penstock.services import table, together

        chosen = _services(names or table.STACK)
        table.fetch(chosen, services_settings())
        together.up(chosen, output.say)
        _show(chosen, json, written=True)


@app.command()
def down(names: Chosen = None, json: options.Json = False) -> None:
    """Stop servers cleanly; the data stays. Refused for an embedded one that a command uses."""
    with output.errors_as_exit_codes(json):
        from penstock.services import table, together

        chosen = _services(names or table.NAMES)
        together.down(chosen)
        _show(chosen, json)


@app.command()
def status(names: Chosen = None, json: options.Json = False) -> None:
    """Say which servers run, and where; starts nothing."""
    with output.errors_as_exit_codes(json):
        from penstock.services import table

        _show(_services(names or table.NAMES), json)


@app.command()
def logs(names: Chosen = None, lines: Lines = 40, json: options.Json = False) -> None:
    """Show the last lines of servers' logs."""
    with output.errors_as_exit_codes(json):
        from penstock.services import table
        from penstock.services.log_file import tail

        chosen = [s for s in _services(names or table.NAMES) if names or s.log.exists()]
        words = {service: tail(service.log, lines) for service in chosen}
        document = [
            {"name": service.name, "log": str(service.log), "lines": text.splitlines()}
            for service, text in words.items()
        ]
        human = "\n\n".join(f"── {s.name}: {s.log} ──\n{text}" for s, text in words.items())
        output.answer({"services": document}, human or "no server has a log", as_json=json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql on the embedded PostgreSQL; what follows goes to psql, such as -c 'SELECT 1'.

    It is started if it does not run, and stays while psql is open.
    """
    with output.errors_as_exit_codes(as_json=False):
        import shlex
        import subprocess

        from penstock.services.postgresql import EmbeddedPostgresql

        server = EmbeddedPostgresql(options.data())
        with server.session():
            line = shlex.split(server.psql(*context.args))
            done = subprocess.run(line, check=False)  # noqa: S603 - the user's own words
        raise typer.Exit(done.returncode)


def _services(names: Sequence[str]) -> list[Service]:
    from penstock.profile import services_settings
    from penstock.services import table

    return table.several(names, services_settings(), options.data())


def _show(services: Sequence[Service], as_json: bool, *, written: bool = False) -> None:
    states = [service.status() for service in services]
    document = {"services": [_document(state) for state in states]}
    output.answer(document, _human(states, written), as_json=as_json)


def _document(state: State) -> dict[str, Any]:
    return {
        "name": state.name,
        "state": state.state,
        "url": state.url,
        "pid": state.pid,
        "data": str(state.data),
        "log": str(state.log),
        **state.more,
    }


def _human(states: Sequence[State], written: bool) -> RenderableType:
    lines = [line for state in states for line in _lines(state)]
    profile = [_IN_PROFILE[s.name].format(s.url) for s in states if s.name in _IN_PROFILE]
    if written and profile:
        lines += ["", "in a profile of penstock.toml:", *(f"  {line}" for line in profile)]
    return "\n".join(lines)


def _lines(state: State) -> list[str]:
    process = f" (process {state.pid})" if state.pid else ""
    lines = [f"{state.name}  {_SAID[state.state]}{process}"]
    if state.state in {"running", "elsewhere"}:
        lines.append(f"  url    {state.url}")
    if state.more.get("kept") is False and state.state == "running":
        lines[0] += ", while a command uses it"
    if state.state != "elsewhere":
        lines.append(f"  data   {state.data}")
    if state.state == "running" and "ui" in state.more:
        lines.append(f"  look   {state.more['ui']}")
    if "psql" in state.more:
        lines.append(f"  psql   {state.more['psql']}")
    if state.state in {"died", "not answering"}:
        from penstock.services.log_file import tail

        lines += [f"  its log {state.log} ends with:", tail(state.log)]
    return lines


_SAID = {
    "running": "running",
    "not answering": "does not answer",
    "stopped": "stopped",
    "died": "died",
    "elsewhere": "was started elsewhere and is left alone",
}
