"""`penstock check`: the doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from penstock.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from penstock.cli.findings import Finding


def check(
    program: options.Program,
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Say what a start would do; write nothing.

    Finds what a start would create, change or refuse: validates the program, runs its maps on
    made-up records, dials every system, and compares contracts, logs and tables with what there
    is. The exit code is 0 when a run may start.
    """
    with output.errors_as_exit_codes(json):
        from penstock.cli import doctor

        findings = doctor.examine(program, profile)
        good = all(finding.good for finding in findings)
        document = {
            "program": str(program),
            "profile": profile,
            "good": good,
            "findings": [
                {"system": f.system, "state": f.state, "message": f.message, "cure": f.cure}
                for f in findings
            ],
        }
        output.answer(document, _lines(findings), as_json=json)
        if not good:
            refused = any(finding.state == "refused" for finding in findings)
            raise typer.Exit(output.NO if refused else output.AWAY)


def _lines(findings: list[Finding]) -> RenderableType:
    from rich.text import Text

    marks = {"good": ("✓", "green"), "change": ("✓", "yellow")}
    width = max(len(finding.system) for finding in findings)
    lines = Text()
    for finding in findings:
        mark, style = marks.get(finding.state, ("✗", "red"))
        lines.append(f"{mark} ", style)
        lines.append(f"{finding.system:<{width}}  ", "bold")
        lines.append(finding.message.replace("\n", "\n" + " " * (width + 4)) + "\n")
        if finding.cure:
            lines.append(f"{'':{width + 4}}→ {finding.cure}\n")
    lines.append(_verdict(findings))
    return lines


def _verdict(findings: list[Finding]) -> str:
    states = {finding.state for finding in findings}
    if "refused" in states:
        return "a run would be refused"
    if "away" in states:
        return "a run would wait for what cannot be reached; without home it does not start"
    return "a run may start"
