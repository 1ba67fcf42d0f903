"""PostgreSQL for other programs too: on 127.0.0.1, with a user and a password.

A server and data of its own, beside the embedded one, which listens on no network and goes on
unchanged. The password is made once and lies in a file that only its user may read; the URL names
that file, as libpq knows it, so that no URL holds a secret.
"""

from __future__ import annotations

import secrets
import shlex
import threading
from urllib.parse import quote

import psycopg
from psycopg import pq

from penstock.errors import Unavailable
from penstock.services import ports, postmaster
from penstock.services.exclusive import exclusive, explained
from penstock.services.server import Condition, State
from penstock.services.settings import Defaults, Settings, as_text
from penstock.services.sockets import socket_folder

DATABASE = "postgres"


class PostgresqlTcp:
    """A PostgreSQL server that runs from `up` to `down`. Like `penstock.services.server.Server`.

    Args:
        settings: Port, shared buffers and folder; `settings.settings` are those of
            `postgresql.conf`.
    """

    name = "postgresql"
    defaults = Defaults(port=5432, memory="256m", folder="postgresql-tcp")

    def __init__(self, settings: Settings) -> None:
        self._home = settings.data
        self._port = settings.port
        self._passfile = self._home / "password"
        self.log = self._home / "server.log"
        self.cluster = postmaster.Cluster(
            self._home / "data",
            socket_folder(self._home),
            self.log,
            address=ports.HOST,
            port=settings.port,
            settings={
                "shared_buffers": settings.memory.upper() + "B",
                **{name: as_text(value) for name, value in settings.settings.items()},
            },
            patience=settings.timeout,
        )

    @property
    def url(self) -> str:
        """Where it listens, with the name of the file that holds the password."""
        return f"{self._address}?passfile={quote(str(self._passfile), safe='/')}"

    def up(self, stopping: threading.Event | None = None) -> str:
        """Start it, unless it runs, and wait until it answers. One at its port will do.

        Args:
            stopping: Not looked at: PostgreSQL starts within seconds.

        Returns:
            Its URL; of one that was started elsewhere without the password, which we do not know.

        Raises:
            Refused: It cannot run here; the message says why and what to do.
            Unavailable: It does not answer in time, or the disk is full.
        """
        with exclusive(self._home, f"postgresql in {self._home}"):
            if postmaster.process(self.cluster) is None:
                if _answers(self._port):
                    return self._address
                ports.require_free(self._port, "port under [services.postgresql]")
            if not self.cluster.data.exists():
                postmaster.create(self.cluster)
            postmaster.start(self.cluster)
            self._set_password()
        return self.url

    def down(self) -> None:
        """Stop it cleanly; the data stays. Nothing happens if it does not run."""
        if self._home.exists():
            with exclusive(self._home, f"postgresql in {self._home}"):
                postmaster.stop(self.cluster)
                (self.cluster.data / "postmaster.pid").unlink(missing_ok=True)

    def status(self) -> State:
        """Look at it, starting and changing nothing."""
        with explained(self._home):
            server = postmaster.process(self.cluster)
            condition = self._condition(server is not None)
        url = self._address if condition == "elsewhere" else self.url
        more = {"psql": self.psql()} if condition == "running" else {}
        pid = server.pid if server else None
        return State(self.name, condition, url, pid, self._home, self.log, more)

    def psql(self) -> str:
        """Return a shell line that opens a psql on it, with the psql of the wheel."""
        return shlex.join([str(postmaster.binaries() / "psql"), self.url])

    @property
    def _address(self) -> str:
        return f"postgresql://{postmaster.USER}@{ports.HOST}:{self._port}/{DATABASE}"

    def _condition(self, lives: bool) -> Condition:
        answers = _answers(self._port)
        if lives:
            return "running" if answers else "not answering"
        if answers:
            return "elsewhere"
        return "died" if (self.cluster.data / "postmaster.pid").exists() else "stopped"

    def _set_password(self) -> None:
        """Make the server take the password of the file: at each start, so that they agree."""
        socket, name = str(self.cluster.sockets), postmaster.USER
        user, password = name.encode(), self._password().encode()
        try:
            with psycopg.connect(
                host=socket, port=self._port, user=name, dbname=DATABASE
            ) as connection:
                connection.pgconn.change_password(user, password)  # sends it encrypted only
        except psycopg.Error as error:
            raise Unavailable(f"postgresql in {self._home} takes no password: {error}") from error

    def _password(self) -> str:
        if not self._passfile.exists():
            fresh = self._passfile.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.chmod(0o600)
            password = secrets.token_urlsafe(24)
            hosts = ("127.0.0.1", "localhost")
            lines = (f"{host}:*:*:{postmaster.USER}:{password}\n" for host in hosts)
            fresh.write_text("".join(lines))
            fresh.replace(self._passfile)
        return self._passfile.read_text().splitlines()[0].rpartition(":")[2]


def _answers(port: int) -> bool:
    where = f"host={ports.HOST} port={port} connect_timeout=2 sslmode=disable"
    return pq.Ping(pq.PGconn.ping(where.encode())) == pq.Ping.OK
