"""Connections to PostgreSQL, and what its errors mean to Penstock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg

from penstock.errors import Fenced, PenstockError, Refused, Rejected, Unavailable

DEFAULT_SCHEMA = "public"

_SESSION = {
    "idle_in_transaction_session_timeout": "30s",
    "lock_timeout": "30s",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "client_min_messages": "warning",  # ADBC prints notices to stderr
}

_NETWORK = {
    "connect_timeout": "10",
    "client_encoding": "UTF8",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}

_EXACT: dict[str, type[PenstockError]] = {
    "21000": Rejected,  # a guarded upsert met one key twice
    "25006": Unavailable,  # read-only: a standby answers during a failover
    "25P03": Unavailable,  # idle in transaction for too long
    "25P04": Unavailable,  # transaction time-out
    "42501": Refused,
    "44000": Rejected,  # WITH CHECK OPTION
    "54000": Rejected,  # a value too large for an index
    "55006": Unavailable,  # object in use
    "55P03": Unavailable,  # lock time-out
    "57P04": Refused,  # the database was dropped
    "PSF01": Fenced,  # raised by penstock.move_progress and its like
}

_CURES = {
    "55P03": "; pg_blocking_pids and pg_stat_activity tell who holds the lock: end that session's "
    "process, or end that session by pg_terminate_backend, as its role or as a superuser",
}

_CLASSES: dict[str, type[PenstockError]] = {
    "08": Unavailable,  # connection
    "22": Rejected,  # data
    "23": Rejected,  # constraint
    "40": Unavailable,  # serialization, deadlock
    "53": Unavailable,  # disk full, out of memory, too many connections
    "57": Unavailable,  # shutdown, crash, cancelled
    "58": Unavailable,  # input/output
    "PS": Refused,  # Penstock's own functions
}

_REFUSED = re.compile("0[ABFLPZ]|2[01456-8BDF]|34|3[BDF]|42|5[45]|72|F0|HV|XX")
"""The other classes that PostgreSQL has; what is in none of all these, a trigger has raised."""

_FINAL_AT_CONNECT = re.compile(
    r"password authentication failed|no password supplied|no pg_hba\.conf entry|"
    r"(database|role|user) \"[^\"]*\" does not exist|permission denied for database|"
    r"is not permitted to log in|unsupported frontend protocol|invalid .*option|"
    r"unrecognized configuration parameter|invalid port number|[Ss]ervname not supported"
)


def split(url: str) -> tuple[str, str]:
    """Take `schema=` out of a PostgreSQL URL, which libpq would not understand.

    Args:
        url: `postgresql://…`, perhaps with `schema=name` among its parameters.

    Returns:
        The URL without it, and the schema's name (`public` when none was given).
    """
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name != "schema"]
    schema = next((value for name, value in pairs if name == "schema" and value), DEFAULT_SCHEMA)
    return urlunsplit(parts._replace(query=urlencode(kept, quote_via=quote))), schema


def dsn(url: str, *, name: str) -> str:
    """Build the URL that both drivers connect with: session settings, time-outs, search path.

    Args:
        url: `postgresql://…`, perhaps with `schema=name`.
        name: Who connects; the server shows it as `penstock:<name>`.
    """
    plain, schema = split(url)
    parts = urlsplit(plain)
    pairs = dict(parse_qsl(parts.query, keep_blank_values=True))
    settings = {**_SESSION, "search_path": '"' + schema.replace('"', '""') + '"'}
    options = [pairs.get("options", "")]
    options += [f"-c {key}={_escaped(value)}" for key, value in settings.items()]
    pairs = {
        **_NETWORK,
        **pairs,
        "application_name": f"penstock:{name.encode('ascii', 'replace').decode():.50}",
        "options": " ".join(options).strip(),
    }
    base = parts._replace(query=urlencode(pairs, quote_via=quote))
    # Without an authority urlunsplit would write `postgresql:/db`, which libpq does not take.
    return f"{parts.scheme}://{parts.netloc}{base.path}?{base.query}"


def connect(url: str, *, name: str) -> psycopg.Connection:
    """Connect in autocommit mode, with UTC, time-outs and the URL's schema as search path.

    Args:
        url: `postgresql://…`, perhaps with `schema=name`.
        name: Who connects; the server shows it as `penstock:<name>`.

    Raises:
        Unavailable: The server cannot be reached, or not now.
        Refused: It answered with a final no (wrong password, no such database).
    """
    try:
        return psycopg.connect(dsn(url, name=name), autocommit=True)
    except psycopg.Error as error:
        raise connect_error(url, str(error)) from None


def connect_error(url: str, words: str) -> PenstockError:
    """Say what a failed connect means; libpq gives no SQLSTATE then, only words.

    Args:
        url: Where to, with or without its password.
        words: The driver's message.
    """
    place = redact(url)
    password = urlsplit(url).password
    if password:
        words = words.replace(password, "***")
    words = " ".join(words.split())
    if _FINAL_AT_CONNECT.search(words):
        return Refused(f"PostgreSQL at {place} refuses the connection: {words}. Correct the URL.")
    return Unavailable(f"PostgreSQL at {place} cannot be reached: {words}")


def code_class(sqlstate: str | None) -> type[PenstockError]:
    """Tell which of `Unavailable`, `Rejected`, `Refused` and `Fenced` an SQLSTATE means.

    Args:
        sqlstate: Five characters, or None when the connection broke without one.
    """
    if not sqlstate:
        return Unavailable
    unlisted = Refused if _REFUSED.match(sqlstate) else Rejected
    return _EXACT.get(sqlstate) or _CLASSES.get(sqlstate[:2], unlisted)


def translate(error: psycopg.Error) -> PenstockError:
    """Turn a driver's error into one of ours: `Unavailable`, `Rejected` or `Refused`.

    Args:
        error: What psycopg raised while talking to a connected server.
    """
    state = error.sqlstate
    said = [error.diag.message_primary, error.diag.message_detail, error.diag.message_hint]
    words = ". ".join(filter(None, said)) or str(error) or type(error).__name__
    words = " ".join(words.split())
    if state is None and isinstance(error, psycopg.DataError):
        return Rejected(f"PostgreSQL cannot hold a value: {words}")
    if state is None and isinstance(error, (psycopg.ProgrammingError, psycopg.NotSupportedError)):
        return Refused(f"PostgreSQL was asked something impossible: {words}")
    return from_sqlstate(state, words)


def from_sqlstate(state: str | None, words: str) -> PenstockError:
    """Build the error for an SQLSTATE, whichever driver reported it.

    Args:
        state: Five characters, or None when the connection broke.
        words: The driver's message.
    """
    kind = code_class(state)
    if kind is Rejected:
        return Rejected(f"PostgreSQL does not take a row: {words} (SQLSTATE {state})", code=state)
    if state is None:
        return Unavailable(f"the connection to PostgreSQL is lost: {words}")
    verb = "is not available" if kind is Unavailable else "refuses"
    return kind(f"PostgreSQL {verb}: {words} (SQLSTATE {state}){_CURES.get(state, '')}")


@contextmanager
def errors() -> Iterator[None]:
    """Raise psycopg's errors as Penstock's.

    Example:
        >>> with errors(), connection.transaction():
        ...     connection.execute("INSERT …")
    """
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def redact(url: str) -> str:
    """Hide the password and the parameters of a PostgreSQL URL, for messages."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    socket = dict(parse_qsl(parts.query)).get("host", "")
    return f"{parts.scheme}://{user}{host or socket}{parts.path}"


def _escaped(value: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", value)
