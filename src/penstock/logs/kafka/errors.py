"""Turns what Kafka and librdkafka say into Penstock's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from penstock.errors import Fenced, PenstockError, Refused, Rejected, Unavailable

LOGIN = "check user, password, sasl= and tls= in the profile's log URL"

UNTRUSTED = "certificate verify failed"
"""In a message: the broker's certificate is not trusted."""

_ALERT = "SSL alert"
_AUTHORITY = "ca= in the log URL must name the authority that signed it, and the URL its host"

_FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
}

_TOO_LARGE = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
}

_REFUSED = {
    KafkaError._AUTHENTICATION: LOGIN,
    KafkaError.SASL_AUTHENTICATION_FAILED: LOGIN,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "choose another one with sasl= in the log URL",
    KafkaError.ILLEGAL_SASL_STATE: LOGIN,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant this user READ, WRITE and DESCRIBE on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant this user READ on groups that begin 'penstock'",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (
        "grant this user WRITE on transactional ids that begin 'penstock'"
    ),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant this user IDEMPOTENT_WRITE on the cluster",
    KafkaError.POLICY_VIOLATION: "ask who runs the cluster",
    KafkaError.INVALID_REPLICATION_FACTOR: "set replication= in the log URL",
    KafkaError.INVALID_PARTITIONS: "",
    KafkaError.INVALID_CONFIG: "",
    KafkaError.TOPIC_EXCEPTION: "",
    KafkaError.UNSUPPORTED_VERSION: "use brokers of version 2.5 or later",
    KafkaError._UNSUPPORTED_FEATURE: "use brokers of version 2.5 or later",
    KafkaError._INVALID_ARG: "",
    KafkaError._BAD_MSG: "the broker's copy may be damaged; see the broker's log",
}


def translated(error: KafkaError, words: str) -> PenstockError:
    """Give the error of Penstock's tree that this one is; what is unknown is waited for.

    Args:
        error: Of librdkafka.
        words: What was spoken to, for the message.
    """
    code, message = error.code(), f"{words}: {error.str()}"
    if code in _FENCED:
        return Fenced(f"{words} is written by a successor now; this process stops writing")
    if code in _TOO_LARGE:
        return Rejected(message, code=error.name())
    if code in _REFUSED:
        return Refused(f"{message}; {_REFUSED[code]}" if _REFUSED[code] else message)
    if UNTRUSTED in message:
        return Refused(f"{message}; {_AUTHORITY}")
    if _ALERT in message:
        return Refused(
            f"{message}; the broker does not take the client's certificate, which is missing, "
            "expired or of an authority that it does not know: see cert= and key= in the log URL"
        )
    if "SSL connection closed" in message:
        message += "; it is going down, or tls=true is wrong for a listener without TLS"
    return _away(message)


def untrusted(words: str, fault: str) -> Refused:
    """The refusal of a broker whose certificate is known to have a fault."""
    cure = "the broker's certificate must be renewed" if "expired" in fault else _AUTHORITY
    return Refused(f"{words}: the broker's certificate is not valid ({fault}); {cure}")


@contextmanager
def errors(words: str) -> Iterator[None]:
    """Raise what Kafka says in the block as Penstock's errors.

    Args:
        words: What is spoken to, such as `topic 'users'`.

    Raises:
        Unavailable: Kafka is away, or asks to try again.
        Refused: It said a final no.
        Rejected: A record is too large for it.
        Fenced: A successor has entered with the same transactional id.
    """
    try:
        yield
    except KafkaException as error:
        raise translated(error.args[0], words) from error


def _away(message: str) -> Unavailable:
    return Unavailable(f"{message}; trying again")
