"""Sessions with the database that a source reads."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg

from penstock.errors import Refused, Unavailable
from penstock.postgresql import connection

_SETTINGS = (
    "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=iso_8601 -c bytea_output=hex"
    " -c extra_float_digits=1 -c lc_monetary=C"
)
"""How values are written: exactly, and the same whoever asks."""

Session = psycopg.Connection[Any]


def read(url: str, name: str) -> Session:
    """Open a session to read rows; it may rest in a transaction, and sees every row or none.

    Args:
        url: Of the database.
        name: What reads.

    Raises:
        Unavailable, Refused: As `connection.connect` does.
    """
    opened = connection.connect(_exact(url), name=name)
    with connection.errors():
        # Row security would hide rows from this role, silently: then the query fails instead.
        opened.execute("SET idle_in_transaction_session_timeout = 0; SET row_security = off")
    return opened


def replicate(url: str, name: str) -> Session:
    """Open a session that speaks the replication protocol.

    Args:
        url: Of the database.
        name: What reads.

    Raises:
        Unavailable: The server is away, or has no sender left.
        Refused: The role may not replicate.
    """
    parts = urlsplit(_exact(url))
    query = f"{parts.query}&replication=database".lstrip("&")
    try:
        return connection.connect(urlunsplit(parts._replace(query=query)), name=name)
    except Unavailable as error:
        if "WAL sender" in str(error) or "walsender" in str(error):
            raise Refused(
                f"{error}. Give the role the right to replicate: ALTER ROLE … REPLICATION"
            ) from None
        raise


def _exact(url: str) -> str:
    parts = urlsplit(url)
    pairs = dict(parse_qsl(parts.query, keep_blank_values=True))
    pairs["options"] = f"{pairs.get('options', '')} {_SETTINGS}".strip()
    return urlunsplit(parts._replace(query=urlencode(pairs, quote_via=quote)))
