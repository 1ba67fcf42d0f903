"""What the driver's errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cassandra as driver
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import ConfigurationException, ErrorMessage, SyntaxException

from penstock.errors import PenstockError, Refused, Rejected, Unavailable

DRIVER_ERRORS = (
    driver.DriverException,
    driver.RequestExecutionException,
    driver.RequestValidationException,
    NoHostAvailable,
    ConnectionException,
    ErrorMessage,
    OSError,
)

# The driver gives no more of an error of TLS than its words.
_TLS = re.compile(r"\[SSL: (?P<code>\w+)\] (?P<words>.*?)(?: \(_ssl|$)")

# A server that stops ends TLS like this, too, so it is no final no.
_BROKEN_OFF = "if it asks its clients for a certificate, name ours by cert= and key= in the URL"

_FINAL = (driver.UnsupportedOperation, SyntaxException, ConfigurationException)


@contextmanager
def said(what: str) -> Iterator[None]:
    """Turn the driver's errors into ours.

    Args:
        what: Where or what for, for the message; no secrets.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error, what) from error


def translate(error: Exception, what: str) -> PenstockError:
    """Say what an error of the driver means."""
    if isinstance(error, NoHostAvailable):
        return _from_hosts(error, what)
    words = _words(error)
    match error:
        case driver.AuthenticationFailed():
            return Refused(
                f"{what} refuses the login: {words}; correct user and password in the store's URL"
            )
        case driver.Unauthorized():
            return Refused(f"{what}: {words}; GRANT it to the user in the store's URL")
        case OSError() if tls := _TLS.search(words):
            return _from_tls(tls["code"], tls["words"], what)
        case driver.InvalidRequest():
            return Rejected(f"Cassandra: {words}", code="invalid")
        case _ if isinstance(error, _FINAL):
            return Refused(f"{what}: {words}")
    return Unavailable(f"{what}: {words}")


def _from_tls(code: str, words: str, what: str) -> PenstockError:
    if "EOF" in code:
        return Unavailable(f"{what}: TLS: {words}; {_BROKEN_OFF}")
    if code == "CERTIFICATE_VERIFY_FAILED":
        return Refused(
            f"{what} shows a certificate that cannot be trusted: {words}; renew it, or name in "
            "the store's URL by ca= who signed it"
        )
    return Refused(f"{what}: TLS: {words}; look at tls, ca, cert and key in the store's URL")


def _from_hosts(error: NoHostAvailable, what: str) -> PenstockError:
    """Judge by what each host said: a final no of one is the reason for all."""
    errors: Mapping[Any, Exception] = error.errors if isinstance(error.errors, dict) else {}
    for each in errors.values():
        if isinstance(each, DRIVER_ERRORS) and not isinstance(each, NoHostAvailable):
            meaning = translate(each, what)
            if not isinstance(meaning, Unavailable):
                return meaning
    said_by = "; ".join(sorted({f"{host}: {_words(each)}" for host, each in errors.items()}))
    hint = f"; {_BROKEN_OFF}" if "EOF occurred in violation of protocol" in said_by else ""
    return Unavailable(f"{what} cannot be reached: {said_by or 'no node is up'}{hint}")


def _words(error: Exception) -> str:
    """Give the server's own words, on one line."""
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    return " ".join(str(message).split())
