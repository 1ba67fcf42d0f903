"""`penstock deadletters`: find, understand, fix and send back what did not fit."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import options, output, where

app = typer.Typer(
    no_args_is_help=True, help="List, show, preview, replay and discard dead letters."
)


@app.command("list")
def list_(
    what: where.WHAT = None,
    pipeline: options.Pipeline = None,
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Group letters by cause, and say how to go on."""
    chosen = where.parse(what)
    with output.errors_as_exit_codes(json):
        from penstock.cli import at_home, letters
        from penstock.home import deadletters

        with at_home.opened(profile) as home:
            name = at_home.only_pipeline(home, pipeline)
            with home.transaction() as cursor:
                groups = deadletters.causes(cursor, chosen.selection(cursor, name))
        output.answer(letters.groups(name, groups), letters.drawn_groups(groups), as_json=json)


@app.command()
def show(  # noqa: PLR0913 - a parameter for each option
    what: where.WHAT = None,
    limit: Annotated[int, typer.Option(min=1, help="How many letters at most.")] = 10,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write only the first letter's bytes, unchanged.")
    ] = False,
    pipeline: options.Pipeline = None,
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Show letters whole.

    Record, position, lane, cause, traceback, and what happened so far. Bytes that a terminal
    would obey are shown as escapes. Without a choice, these are the letters that are dead now; by
    number or position, also those that were replayed or discarded.
    """
    chosen = where.parse(what)
    with output.errors_as_exit_codes(json):
        from penstock.cli import at_home, letters

        with at_home.opened(profile) as home:
            name = at_home.only_pipeline(home, pipeline)
            with home.transaction() as cursor:
                found = letters.read(cursor, name, chosen, 1 if raw else limit)
        if raw:
            letters.write_raw(found)
        else:
            document = letters.documents(name, found)
            output.answer(document, letters.drawn_letters(found, limit), as_json=json)


@app.command()
def preview(
    program: options.Program,
    what: where.WHAT = None,
    limit: Annotated[int, typer.Option(min=1, help="How many letters at most.")] = 1000,
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Say what would pass now; write nothing.

    Runs the current program over the letters, and shows the rows that it would write.
    """
    chosen = where.parse(what)
    with output.errors_as_exit_codes(json):
        from penstock import pipeline as programs
        from penstock import plan
        from penstock import profile as profiles
        from penstock.cli import at_home, previews
        from penstock.home import replays
        from penstock.serdes import formats

        declared = programs.load(program)
        segments = plan.compile(declared, formats.codecs(profiles.load(name=profile)))
        with at_home.entered(profile, declared.name) as systems:
            with systems.home("command") as home, home.transaction() as cursor:
                selection = chosen.selection(cursor, declared.name)
                batches = replays.preview(cursor, selection, most=limit)
            batches = previews.whole(systems, segments, batches)
        results = previews.run(segments, batches)
        output.answer(previews.document(results), previews.drawn(results), as_json=json)


@app.command()
def replay(
    what: where.WHAT = None,
    pipeline: options.Pipeline = None,
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Send letters back to their lanes.

    Each goes to the lanes that it is dead for, exactly once. A running pipeline takes them at
    once, another one when it is run. What fails again stays dead,
    with its new cause.
    """
    chosen = where.parse(what)
    with output.errors_as_exit_codes(json):
        from penstock.cli import at_home, letters
        from penstock.home import replays

        with at_home.opened(profile) as home:
            name = at_home.only_pipeline(home, pipeline)
            with home.transaction() as cursor:
                selection = chosen.selection(cursor, name)
                sent = replays.replay(cursor, selection, by=at_home.person())
        document = {"pipeline": name, "replayed": sent.letters, "left": sent.left}
        output.answer(document, letters.drawn_replay(sent), as_json=json)


@app.command()
def discard(  # noqa: PLR0913 - a parameter for each option
    what: where.WHAT = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = ...,  # type: ignore[assignment]
    everything: Annotated[
        bool, typer.Option("--all", help="Every dead letter of the pipeline.")
    ] = False,
    pipeline: options.Pipeline = None,
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Give letters up.

    They stay on record, with who gave them up, when and why.
    """
    chosen = where.parse(what)
    if chosen.everything != everything:
        raise typer.BadParameter("choose letters, or write --all for every one")
    if not reason.strip():
        raise typer.BadParameter("the reason may not be empty", param_hint="--reason")
    with output.errors_as_exit_codes(json):
        from penstock.cli import at_home
        from penstock.home import deadletters

        with at_home.opened(profile) as home:
            name = at_home.only_pipeline(home, pipeline)
            with home.transaction() as cursor:
                selection = chosen.selection(cursor, name)
                count = deadletters.discard(cursor, selection, reason=reason, by=at_home.person())
        document = {"pipeline": name, "discarded": count}
        output.answer(document, f"discarded {count} letters", as_json=json)
