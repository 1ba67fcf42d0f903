"""A run from the command: engine, signals, what is shown meanwhile, and the answer at the end."""

from __future__ import annotations

import gc
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import typer

from penstock import faults, plan, profile
from penstock import pipeline as programs
from penstock.cli import live, log_lines, options, output, signals, summary
from penstock.engines.embedded import Embedded
from penstock.engines.reloading.succession import Succession
from penstock.engines.reloading.watching import Watch
from penstock.engines.status import Board
from penstock.engines.systems import Systems
from penstock.errors import CheckError, PenstockError

if TYPE_CHECKING:
    from penstock.engines.options import Options
    from penstock.pipeline import Pipeline
    from penstock.profile import Profile


def run(
    program: Path, profile_name: str, wanted: Options, *, as_json: bool, reload: bool = False
) -> None:
    """Run a program's pipeline and answer with what was done.

    Raises:
        PenstockError: The run could not start, or stopped with an error; what was done until then
            has been said.
        Exit: With code 1, when the ledger does not balance.
    """
    faults.arm_from_environment()
    on_terminal = sys.stderr.isatty() and not as_json
    style: log_lines.Style = "json" if as_json else "short" if on_terminal else "logfmt"
    log_lines.configure(style, debug=output.debug)
    watch = _watch(program) if reload else None
    declared = programs.load(program)
    settings = profile.load(name=profile_name)
    if findings := plan.validate(plan.compile(declared), settings):
        raise CheckError([str(finding) for finding in findings])
    _verify_reload(settings, watch)
    _spare_collections()
    root = options.data()
    board = Board(log_lines.listener())

    def engine(version: Pipeline, wanted: Options) -> Embedded:
        made = Embedded(version, settings, wanted, board=board, root=root)
        if watch is not None:
            made.follow(watch)
        return made

    running = Succession(engine, declared, replace(wanted, program=program), board)
    started = monotonic()
    with Systems(settings, declared.name, root) as systems:
        before = summary.tails(systems, declared.name)
        error = _ran(running, on_terminal=on_terminal)
        done = summary.Summary(
            pipeline=declared.name,
            seconds=monotonic() - started,
            snapshot=running.snapshot(),
            lanes=summary.between(before, summary.tails(systems, declared.name)),
        )
    if error is not None:
        output.stderr().print(summary.drawn(done))
        raise error
    output.answer(summary.document(done), summary.drawn(done), as_json=as_json)
    if not done.balanced:
        raise typer.Exit(output.NO)


def _watch(program: Path) -> Watch:
    sys.dont_write_bytecode = True  # what is cached may be stale after two edits within a second
    return Watch(program)


def _verify_reload(settings: Profile, watch: Watch | None) -> None:
    if watch is None:
        return
    if settings.on_spark:
        raise CheckError(
            [
                f"--reload is for the embedded engine, the profile {settings.name!r} has Spark, "
                "whose executors keep the program they were sent; run without --reload"
            ]
        )
    watch.loaded(whole=True)


def _spare_collections() -> None:
    """Let the cyclic collector run rarely, and never over what was imported.

    A run makes records by the thousand and no cycles; walking all objects took a tenth of its
    time, in pauses.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _ran(running: Succession, *, on_terminal: bool) -> PenstockError | None:
    shown = live.shown(running.snapshot) if on_terminal else nullcontext()
    with signals.graceful(running.stop), shown:
        try:
            running.run()
        except PenstockError as error:
            return error
    return None
