"""Renew the lock with Maven: `python -m penstock.services.artifacts.relock [NAME…]`.

Edit `wanted` in lock.toml first. Maven (`mvn`) says what the wanted artifacts depend on and fetches
the files; their sizes and SHA-256 are written to lock.toml. Commit that file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

from penstock.errors import PenstockError, Refused
from penstock.services.artifacts import lock
from penstock.services.artifacts.lock import Artifact, Group

_HEADER = """\
# The files of each service. `wanted`, `transitive` and `fits` are written by people, `files` by
# `python -m penstock.services.artifacts.relock`: coordinates, size in bytes, SHA-256.
"""
_RESOLVE = [
    "dependency:copy-dependencies",
    "-DincludeScope=runtime",
    "-Dmdep.useRepositoryLayout=true",
    "-DoutputDirectory=files",
]


def main(names: list[str]) -> None:
    """Renew the groups of these names, or all of them.

    Raises:
        Refused: There is no Maven, or it fails; its words are in the message.
    """
    groups = dict(lock.read())
    for name in names or groups:
        groups[name] = replace(lock.group(name), files=_resolved(lock.group(name)))
        total = sum(file.size for file in groups[name].files)
        sys.stderr.write(f"{name}: {len(groups[name].files)} files, {total:,} bytes\n")
    Path(__file__).with_name(lock.FILE).write_text(written(groups), encoding="utf-8")


def written(groups: Mapping[str, Group]) -> str:
    """Write a lock as TOML."""
    return "\n".join([_HEADER, *(_table(name, group) for name, group in groups.items())])


def _table(name: str, group: Group) -> str:
    lines = [f"[{name}]", "wanted = ["]
    lines += [f"    {json.dumps(coordinates)}," for coordinates in group.wanted]
    lines += ["]", f"transitive = {json.dumps(group.transitive)}"]
    lines += [f"fits = {json.dumps(group.fits)}"] if group.fits else []
    lines += ["files = ["]
    lines += [f"    {json.dumps([f.coordinates, f.size, f.sha256])}," for f in group.files]
    return "\n".join([*lines, "]", ""])


def _resolved(group: Group) -> tuple[Artifact, ...]:
    maven = shutil.which("mvn")
    if maven is None:
        raise Refused("the lock is renewed with Maven; install it, so that `mvn` is on PATH")
    with tempfile.TemporaryDirectory(prefix="penstock-relock-") as folder:
        place = Path(folder)
        (place / "pom.xml").write_text(pom(group), encoding="utf-8")
        command = [maven, "-q", "-B", *_RESOLVE]
        done = subprocess.run(  # noqa: S603
            command, cwd=place, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Refused(f"Maven could not resolve {', '.join(group.wanted)}:\n{done.stdout}")
        files = place / "files"
        found = [path for path in files.rglob("*") if path.is_file() and path.suffix != ".xml"]
        return tuple(sorted((_artifact(files, path) for path in found), key=lambda a: a.path))


def pom(group: Group) -> str:
    """Write the Maven project that depends on what a group wants."""
    dependencies = "".join(_dependency(wanted, group.transitive) for wanted in group.wanted)
    itself = "<groupId>penstock</groupId><artifactId>lock</artifactId><version>1</version>"
    return (
        f"<project><modelVersion>4.0.0</modelVersion>{itself}"
        f"<dependencies>{dependencies}</dependencies></project>"
    )


def _dependency(coordinates: str, transitive: bool) -> str:
    names, _, extension = coordinates.partition("@")
    parts = dict(
        zip(("groupId", "artifactId", "version", "classifier"), names.split(":"), strict=False)
    )
    parts["type"] = extension or "jar"
    fields = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in parts.items())
    everything = "<exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion>"
    alone = "" if transitive else f"<exclusions>{everything}</exclusions>"
    return f"<dependency>{fields}{alone}</dependency>"


def _artifact(files: Path, path: Path) -> Artifact:
    *group, artifact, version, file = path.relative_to(files).parts
    classifier, _, extension = file.removeprefix(f"{artifact}-{version}").partition(".")
    names = [".".join(group), artifact, version, *filter(None, [classifier.removeprefix("-")])]
    coordinates = ":".join(names) + (f"@{extension}" if extension != "jar" else "")
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return Artifact(coordinates, path.stat().st_size, digest)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PenstockError as error:
        sys.exit(str(error))
