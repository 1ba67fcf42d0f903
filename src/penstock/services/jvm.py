"""How Java servers are run here: one way for all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.services import java
from penstock.services.daemon import Launch

OLDEST = 21
"""The least version of Java that all servers here run on."""

_COMMON = (
    "-XX:+ExitOnOutOfMemoryError",  # rather gone, and said so, than half alive
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
)


@dataclass(frozen=True)
class Program:
    """A Java program, or several that share their jars.

    Args:
        classpath: Its jars.
        main: The class to run.
        options: Options of the Java machine.
        properties: System properties.
        arguments: What the class gets.
    """

    classpath: Sequence[Path]
    main: str
    options: Sequence[str] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()


def launch(
    program: Program, home: Path, *, newest: int | None = None, machine: Path | None = None
) -> Launch:
    """Say how to run a Java program; its arguments are left in a file for people to read.

    Args:
        program: What to run.
        home: The server's folder, which is where it will run.
        newest: The last Java version that it runs on.
        machine: The `java` to run it, if not any that servers run on will do.

    Raises:
        Refused: This machine has no such Java.
    """
    machine = machine or java.find(minimum=OLDEST, maximum=newest)
    temporary = home / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # native libraries that a killed server left
    temporary.mkdir()
    properties = {"java.io.tmpdir": str(temporary), **program.properties}
    arguments = [
        *_COMMON,
        f"-XX:ErrorFile={home / 'crash-%p.log'}",
        *program.options,
        *(f"-D{name}={value}" for name, value in properties.items()),
        *("-cp", ":".join(map(str, program.classpath))),
        program.main,
        *program.arguments,
    ]
    file = home / f"{program.main.rpartition('.')[2]}.args"
    # Java reads quoted arguments from a file with JSON's escapes, as far as these have any.
    file.write_text("\n".join(json.dumps(a, ensure_ascii=False) for a in arguments) + "\n")
    return Launch([str(machine), f"@{file}"])


def properties_file(path: Path, settings: Mapping[str, str]) -> None:
    """Write a Java properties file."""
    lines = []
    for name, value in settings.items():
        begin = value[: len(value) - len(value.lstrip(" "))]
        written = _escaped(begin, " ") + _escaped(value[len(begin) :])
        lines.append(f"{_escaped(name, '=: #!')}={written}\n")
    path.write_text("".join(lines), encoding="ascii")


def _escaped(text: str, also: str = "") -> str:
    def written(character: str) -> str:
        if character == "\\" or character in also:
            return "\\" + character
        if " " <= character <= "~":
            return character
        pair = character.encode("utf-16-be").hex()
        return "".join(f"\\u{pair[i : i + 4]}" for i in range(0, len(pair), 4))

    return "".join(map(written, text))
