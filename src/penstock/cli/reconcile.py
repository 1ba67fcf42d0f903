"""`penstock reconcile`: proves that every record is accounted for."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import options, output


def reconcile(
    program: options.Program,
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare every row in the stores with the log, too.")
    ] = False,
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Prove that every record is accounted for.

    Compares the ledger with itself, with what every store says, and with the dead letters. Names
    each difference; the exit code is 1 when there is one. The pipeline may be running.
    """
    with output.errors_as_exit_codes(json):
        from penstock import pipeline as programs
        from penstock import plan
        from penstock import profile as profiles
        from penstock.cli import reports
        from penstock.engines.reconciling import reconcile
        from penstock.engines.systems import Systems
        from penstock.serdes import formats

        declared = programs.load(program)
        settings = profiles.load(name=profile)
        segments = plan.compile(declared, formats.codecs(settings))
        with (
            Systems(settings, declared.name, options.data()) as systems,
            reports.counting(silent=json or not deep) as count,
        ):
            report = reconcile.reconcile(
                declared.name, segments, systems, deep=deep, progress=count
            )
        document = reports.document(declared.name, report, deep=deep)
        output.answer(document, reports.drawn(report, deep=deep), as_json=json)
        if not report.balanced:
            raise typer.Exit(output.NO)
