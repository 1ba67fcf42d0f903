"""Finds out what is wrong with a broker's certificate: librdkafka says only that something is."""

from __future__ import annotations

import re
import socket
import ssl

_PLACE = re.compile(r"://(?P<host>[^/\s]+):(?P<port>\d+)/")
_PATIENCE = 5.0


def fault(message: str, ca: str | None) -> str:
    """Look at the certificate of the broker that an error is about, by a handshake of our own.

    Args:
        message: The error of librdkafka, which names the broker.
        ca: The file of the authority that is trusted; None is the machine's.

    Returns:
        What is wrong, in OpenSSL's words; empty when that cannot be found out.
    """
    place = _PLACE.search(message)
    if place is None:
        return ""
    host = place["host"].strip("[]")
    try:
        context = ssl.create_default_context(cafile=ca)
        with (
            socket.create_connection((host, int(place["port"])), _PATIENCE) as line,
            context.wrap_socket(line, server_hostname=host),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError:
        return ""  # it is only asked to say more
