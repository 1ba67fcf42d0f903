"""A new project from a template: what goes into it, and writing it, never over what is there."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from penstock.errors import Refused

TEMPLATES: Mapping[str, str] = {
    "api-to-table": "an HTTP API, polled, into PostgreSQL tables",
    "files-to-lake": "files that are dropped into a folder, into a lake",
    "topic-to-table": "a topic that others write, into PostgreSQL tables",
}
"""Name and purpose of each template."""

_TOLERATED = {".git", ".venv", "venv"}
_LONGEST = 48
"""Bytes of a pipeline's name, so that what is added to it fits, too."""


def create(folder: Path, template: str) -> list[str]:
    """Write a project into a folder that is missing or empty.

    Args:
        folder: Where; its name becomes the pipeline's.
        template: One of `TEMPLATES`.

    Returns:
        The files, relative to the folder.

    Raises:
        Refused: There is no such template, the folder holds something, or it cannot be written.
    """
    if template not in TEMPLATES:
        raise Refused(f"there is no template {template!r}; there are {', '.join(TEMPLATES)}")
    _verify_empty(folder)
    texts = {
        path: _filled(text, _names(folder))
        for part in ("common", template.replace("-", "_"))
        for path, text in _texts(files("penstock") / "templates" / part, "")
    }
    _write(folder, texts)
    return sorted(texts)


def pipeline_name(folder: Path) -> str:
    """Name a pipeline after a folder: any letters, nothing that a terminal obeys."""
    name = folder.resolve().name.encode("utf-8", "replace").decode()
    kept = "".join("_" if unicodedata.category(c)[0] in "CZ" else c for c in name)
    return kept.encode()[:_LONGEST].decode(errors="ignore").strip("_") or "pipeline"


def _names(folder: Path) -> Mapping[str, str]:
    name = pipeline_name(folder)
    return {
        '"@name@"': json.dumps(name, ensure_ascii=False),
        '"@writer@"': json.dumps(f"{name}_writer", ensure_ascii=False),
        "@title@": name,
        "@version@": version("penstock"),
    }


def _filled(text: str, names: Mapping[str, str]) -> str:
    for mark, name in names.items():
        text = text.replace(mark, name)
    return text


def _texts(folder: Traversable, under: str) -> Iterator[tuple[str, str]]:
    """Every file of a template; `dot-` begins names that installers and git would pass over."""
    for entry in folder.iterdir():
        name = under + entry.name.replace("dot-", ".", 1)
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _texts(entry, name + "/")
        else:
            yield name, entry.read_text(encoding="utf-8")


def _verify_empty(folder: Path) -> None:
    try:
        if folder.is_dir():
            found = sorted(p.name for p in folder.iterdir() if p.name not in _TOLERATED)
        elif folder.exists() or folder.is_symlink():
            raise Refused(f"{str(folder)!r} is no folder; choose another name")
        else:
            return
    except OSError as error:
        raise _unwritable(folder, error) from error
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise Refused(
            f"the folder {str(folder)!r} holds {found[0]!r}{more}, and nothing is overwritten: "
            "name a new or an empty folder, or move away what is there"
        )


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write all files or none."""
    made: list[Path] = []
    try:
        _make(folder, made)
        for name, text in texts.items():
            path = folder / name
            _make(path.parent, made)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        _remove(made)
        raise _unwritable(folder, error) from error


def _make(folder: Path, made: list[Path]) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        made.append(path)


def _remove(made: list[Path]) -> None:
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def _unwritable(folder: Path, error: OSError) -> Refused:
    return Refused(
        f"no project can be written to {str(folder)!r}: {error.strerror or error}; "
        "choose a folder that you may write to"
    )
