"""The embedded PostgreSQL: one server under `.penstock/`, shared by the commands of a project.

It runs while a command uses it (`session`), and from `up` to `down` for people who want to look
into it. Users hold a shared lock on a file, so the kernel forgets a user that is killed; starting
and stopping happen under an exclusive lock, so commands that start at once do not collide. A
server that is killed under its users comes back by `ensure`, which they call to connect again.
It listens on a socket in a directory that only its user may enter, and on no network.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from penstock.errors import Busy
from penstock.services import postmaster
from penstock.services.exclusive import exclusive, ignored_by_git, open_locked, try_lock
from penstock.services.sockets import socket_folder

DATABASE = "postgres"

_LOCK_PATIENCE = 150.0


@dataclass(frozen=True)
class Status:
    """What there is of the embedded server.

    Args:
        running: Whether it answers.
        kept: Whether `up` asked for it to stay.
        used: Whether a command uses it.
        url: Where it listens, or would.
        pid: Its process.
        data: Its data directory.
        log: Its log file.
    """

    running: bool
    kept: bool
    used: bool
    url: str
    pid: int | None
    data: Path
    log: Path


class EmbeddedPostgresql:
    """The PostgreSQL of one `.penstock/` directory. Methods may be called from any thread.

    Args:
        root: The `.penstock` directory; made when it is missing.

    Example:
        >>> with EmbeddedPostgresql(Path(".penstock")).session() as url:
        ...     connect(url, name="me")
    """

    name = "postgresql"

    def __init__(self, root: Path) -> None:
        self._home = root.resolve() / "postgresql"
        self._root = root.resolve()
        self._kept = self._home / "kept"
        data = self._home / "data"
        self.cluster = postmaster.Cluster(
            data, socket_folder(self._home), self._home / "server.log"
        )

    @property
    def url(self) -> str:
        """Where the server listens once it runs."""
        host = quote(str(self.cluster.sockets), safe="")
        return f"postgresql://{postmaster.USER}@/{DATABASE}?host={host}&port={postmaster.PORT}"

    def up(self) -> str:
        """Start it, if it does not run, to stay until `down`. Returns its URL.

        Raises:
            Refused: It cannot run here; the message says why and what to do.
            Unavailable: It does not answer in time, or the disk is full.
        """
        with self._exclusive():
            self._start()
            self._kept.touch()
        return self.url

    def down(self) -> None:
        """Stop it cleanly; the data stays.

        Raises:
            Busy: Commands use it.
        """
        if not self._home.exists():
            return
        with self._exclusive():
            self._kept.unlink(missing_ok=True)
            if self._used():
                raise Busy(
                    f"a running command uses the PostgreSQL under {self._root}; stop that command "
                    "first (the server then stops by itself)"
                )
            postmaster.stop(self.cluster)

    def ensure(self) -> str:
        """Bring it back if it was killed; costs a millisecond if it runs.

        Returns:
            Its URL. Raises as `up` does.
        """
        if not postmaster.answers(self.cluster):
            with self._exclusive():
                self._start()
        return self.url

    def status(self) -> Status:
        """Look at it, starting and changing nothing."""
        running = self._home.exists() and postmaster.answers(self.cluster)
        server = postmaster.process(self.cluster) if running else None
        return Status(
            running=running,
            kept=self._kept.exists(),
            used=self._home.exists() and self._used(),
            url=self.url,
            pid=server.pid if server else None,
            data=self.cluster.data,
            log=self.cluster.log,
        )

    @contextmanager
    def session(self) -> Iterator[str]:
        """Use the server: it runs at least until the end of the block. Gives its URL.

        The last user stops it, unless `up` asked for it to stay. Raises as `up` does.
        """
        with self._exclusive():
            users = open_locked(self._home / "users")
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                self._start()
            except BaseException:
                os.close(users)
                raise
        try:
            yield self.url
        finally:
            self._leave(users)

    def psql(self, *arguments: str) -> str:
        """Return a shell line that opens a psql on it, with the psql of the wheel.

        Args:
            arguments: More arguments for psql.
        """
        return shlex.join([str(postmaster.binaries() / "psql"), self.url, *arguments])

    def _leave(self, users: int) -> None:
        with self._exclusive():
            os.close(users)
            if not self._kept.exists() and not self._used():
                postmaster.stop(self.cluster)

    def _start(self) -> None:
        if postmaster.answers(self.cluster):
            return
        if not self.cluster.data.exists():
            postmaster.create(self.cluster)
        postmaster.start(self.cluster)

    def _used(self) -> bool:
        probe = open_locked(self._home / "users")
        try:
            return not try_lock(probe)
        finally:
            os.close(probe)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with exclusive(self._home, f"the PostgreSQL under {self._root}", _LOCK_PATIENCE):
            ignored_by_git(self._root)
            yield


def is_embedded(url: str) -> bool:
    """Whether a profile's URL names the embedded server."""
    return urlsplit(url).scheme == "embedded"


def resolve(url: str, server: str) -> str:
    """Turn a profile's `embedded:?schema=name` into a URL to connect to.

    Args:
        url: Of a profile; any other than `embedded:` is returned as it is.
        server: URL of the running embedded server.
    """
    if not is_embedded(url):
        return url
    schema = parse_qs(urlsplit(url).query).get("schema", [""])[0]
    return f"{server}&schema={quote(schema, safe='')}" if schema else server
