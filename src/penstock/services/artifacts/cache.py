"""What services are made of, on this machine: found in the cache, or fetched into it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from penstock.errors import Refused, Unavailable
from penstock.profile import redact
from penstock.services.artifacts import lock, places
from penstock.services.artifacts.fetch import Fetch, is_sound
from penstock.services.artifacts.lock import Artifact
from penstock.services.artifacts.progress import Display, megabytes, on_stderr
from penstock.services.artifacts.unpack import is_unpacked, unpack


def classpath(
    name: str, *, mirror: str | None = None, display: Display | None = None
) -> list[Path]:
    """Return the jars of a service; those that the cache lacks are fetched.

    Every jar is verified each time, so one that was damaged is fetched anew.

    Args:
        name: The service, such as `kafka`.
        mirror: As in `ensure`.
        display: As in `ensure`.

    Returns:
        The jars, in the order of the lock. Raises as `ensure` does.
    """
    ensure([name], mirror=mirror, display=display)
    return [_jars() / artifact.path for artifact in lock.group(name).files]


def unpacked(name: str, *, mirror: str | None = None, display: Display | None = None) -> Path:
    """Return the folder of a service that comes as an archive; nothing may be written into it.

    Args:
        name: The service, such as `registry`.
        mirror: As in `ensure`.
        display: As in `ensure`.

    Returns:
        Its folder. Raises as `ensure` does.
    """
    [archive] = lock.group(name).files
    folder = places.cache() / "unpacked" / f"{name}-{archive.sha256[:16]}"
    if is_unpacked(folder):
        return folder
    display = display or on_stderr()
    if folder.exists():
        display.say(f"{folder} is damaged; unpacking it anew")
    ensure([name], mirror=mirror, display=display)
    with _explained():
        unpack(_jars() / archive.path, folder)
    return folder


def ensure(
    names: Iterable[str], *, mirror: str | None = None, display: Display | None = None
) -> None:
    """Fetch what the cache lacks of some services, all at once.

    Args:
        names: The services.
        mirror: Base URL of a Maven repository in place of the public one; the environment
            variable PENSTOCK_MAVEN_MIRROR goes before it.
        display: Shows how far it is; None shows it on stderr.

    Raises:
        Unavailable: Something is missing and the repository cannot be reached, or the disk is full.
        Refused: The repository lacks a file or has a wrong one, the cache cannot be written, or the
            files are for another version of a Python package than the one that is installed.
        ProfileError: The mirror is no URL.
    """
    wanted = {name: _fitting(name).files for name in names}
    with _explained():
        missing = _missing({file for files in wanted.values() for file in files})
    if missing:
        lacking = [name for name, files in wanted.items() if not missing.isdisjoint(files)]
        display = display or on_stderr()
        _fetch(missing, lacking, Fetch(places.repository(mirror), _jars(), display))


def _fitting(name: str) -> lock.Group:
    """Return a group of the lock that fits what is installed."""
    group = lock.group(name)
    package, _, wanted = group.fits.partition(" ")
    if not package:
        return group
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError:
        raise Refused(
            f"the jars of {name} are for {package}, which is not installed; "
            f"run pip install 'penstock[{name}]'"
        ) from None
    if installed.split(".")[:2] != wanted.split("."):
        raise Refused(
            f"{package} {installed} is installed, and the jars of {name} are for {wanted}; "
            f"run pip install '{package}=={wanted}.*'"
        )
    return group


def _fetch(missing: set[Artifact], names: list[str], fetch: Fetch) -> None:
    for damaged in (artifact for artifact in missing if (fetch.folder / artifact.path).exists()):
        fetch.display.say(f"{fetch.folder / damaged.path} is damaged; fetching it anew")
    size = sum(artifact.size for artifact in missing)
    files = "1 file" if len(missing) == 1 else f"{len(missing)} files"
    what = f"{files} of {', '.join(names)} ({megabytes(size)})"
    with _explained(), _advised(what):
        _check_room(fetch.folder, size)
        fetch.display.begin(f"fetching {what} from {redact(fetch.base)}", size)
        try:
            fetch.all(missing)
        finally:
            fetch.display.end()


def _missing(artifacts: set[Artifact]) -> set[Artifact]:
    jars, ordered = _jars(), list(artifacts)
    with ThreadPoolExecutor(4) as pool:
        sound = pool.map(lambda artifact: is_sound(jars / artifact.path, artifact), ordered)
        return {artifact for artifact, good in zip(ordered, sound, strict=True) if not good}


def _jars() -> Path:
    return places.cache() / "jars"


def _check_room(folder: Path, size: int) -> None:
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if shutil.disk_usage(existing).free < size:
        raise OSError(errno.ENOSPC, "", str(folder))


@contextmanager
def _advised(what: str) -> Iterator[None]:
    try:
        yield
    except (Refused, Unavailable) as error:
        raise type(error)(
            f"{error}\nNeeded: {what}. Without that network, name a mirror ({places.MIRROR}=URL, "
            f"or mirror under [services] in penstock.toml), or copy {places.cache()} from a "
            "machine that has them"
        ) from error


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = places.cache()
        elsewhere = f"or set {places.CACHE} to a folder elsewhere"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Unavailable(
                f"the disk that holds {where} is full; make room, {elsewhere}"
            ) from error
        raise Refused(
            f"{error.filename or where} cannot be used: {error.strerror}; look at it, {elsewhere}"
        ) from error
