"""Where in the user's program something was declared."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import DeclarationError

_OURS = str(Path(__file__).parent) + os.sep


@dataclass(frozen=True)
class Site:
    """A file and a line of the user's program."""

    file: str
    line: int

    def error(self, message: str) -> DeclarationError:
        """Make the error that says what is wrong at this place."""
        return DeclarationError(message, file=self.file, line=self.line)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def caller() -> Site:
    """Find the innermost frame outside of Penstock: the line that declares something."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _passed_over(frame.f_code.co_filename):
        frame = frame.f_back
    return Site(frame.f_code.co_filename, frame.f_lineno)


def _passed_over(file: str) -> bool:
    """Our own frames, and those of the code that `dataclass` generates."""
    return file.startswith(_OURS) or file == "<string>"
