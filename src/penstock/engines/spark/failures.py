"""What goes wrong in Spark, in our words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from penstock.errors import (
    DeclarationError,
    LogChanged,
    PenstockError,
    PlanFailed,
    Refused,
    Unavailable,
)
from penstock.profile import redact

_LONGEST = 400
_LIBRARIES = ("/site-packages/", "/pyspark/", "pyspark.zip", "/penstock/", "<frozen", "<string>")
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_RAISED = re.compile(r"^(?P<kind>[\w.]*[A-Z]\w*)(: (?P<words>.*))?$", re.MULTILINE)
_RAISABLE: dict[str, type[PenstockError]] = {
    one.__name__: one for one in (DeclarationError, LogChanged, PlanFailed, Refused, Unavailable)
}
_OURS = re.compile(
    rf"^penstock\.errors\.(?P<kind>{'|'.join(_RAISABLE)}): (?P<words>.+)$", re.MULTILINE
)
_CAUSE = re.compile(r"^Caused by: (?P<words>.+)$", re.MULTILINE)
_NOISE = re.compile(r"(?m)^(An error occurred while calling \S+|JVM stacktrace:|\s*)$\n?")
_TASK = r"Lost task .*?\((?P<host>\S+) executor (?P<executor>\w+)\): "


class WorkersDied(Unavailable):
    """A task was tried so often as Spark may, and each time its process or executor died of it."""


@dataclass(frozen=True)
class _Known:
    """A failure that we have words for; they may name the groups of its pattern."""

    pattern: str
    kind: Callable[[str], PenstockError]
    words: str


_MORE_MEMORY = (
    "give it more memory (executor_memory in the profile, or memory that Python may have), or "
    "lower records, the size of a micro-batch"
)
_ENVIRONMENT = "install it there, or ship an environment (archives and python in the profile)"

_KNOWN = (
    _Known(
        _TASK + r"java\.lang\.OutOfMemoryError: (?P<what>.+)",
        WorkersDied,
        f"executor {{executor}} on {{host}} ran out of memory ({{what}}); {_MORE_MEMORY}",
    ),
    _Known(
        _TASK + r".*Python worker exited unexpectedly",
        WorkersDied,
        "the Python of executor {executor} on {host} died again and again: it was killed, as it is "
        f"when memory is short, or crashed; {_MORE_MEMORY}",
    ),
    _Known(
        _TASK + r"ExecutorLostFailure .*?Reason: (?P<what>.+)",
        WorkersDied,
        f"executors were lost again and again, the last on {{host}}: {{what}}; {_MORE_MEMORY}",
    ),
    _Known(
        r"^MemoryError",
        WorkersDied,
        f"the Python of an executor ran out of memory; {_MORE_MEMORY}",
    ),
    _Known(
        r"java\.lang\.OutOfMemoryError: (?P<what>.+)",
        Unavailable,
        "Spark's driver ran out of memory ({what}); raise driver_memory in the profile",
    ),
    _Known(
        r"serialized results of .*? is bigger than spark\.driver\.maxResultSize \((?P<most>.+?)\)",
        Refused,
        "a micro-batch's results exceed {most}; lower records in the profile, or raise "
        "spark.driver.maxResultSize in its conf",
    ),
    _Known(
        r"PYTHON_VERSION_MISMATCH.*?(?P<there>\d\.\d+) than that in driver:? (?P<here>\d\.\d+)",
        Refused,
        "the executors run Python {there}, the driver Python {here}; name one of the same version "
        "with python in the profile, or ship an environment with archives",
    ),
    _Known(
        r'Cannot run program "(?P<program>[^"]+)"',
        Refused,
        "an executor has no Python at {program}; name one that all executors have with python in "
        "the profile, or ship an environment with archives",
    ),
    _Known(
        r"(?:No module named|lacks the module) '?(?P<module>[\w.]+)'?",
        Refused,
        f"the executors' Python lacks the module {{module}}; {_ENVIRONMENT}",
    ),
    _Known(
        r"(?P<module>PyArrow|Pandas) >= (?P<version>[\d.]+) must be installed",
        Refused,
        f"the executors' Python lacks {{module}} {{version}} or newer; {_ENVIRONMENT}",
    ),
    _Known(
        r"Some data may have been lost[\s\S]*?Reason: (?P<what>.+?)\.?$",
        LogChanged,
        "the topic lost what is to be read next ({what}): it was deleted and made again, or keeps "
        "records for too short a time",
    ),
    _Known(
        r"OffsetOutOfRangeException: (?P<what>.+)|Some data may have been lost",
        LogChanged,
        "the topic does not hold what is to be read next: it was deleted and made again, or keeps "
        "records for too short a time",
    ),
    _Known(
        r"UnknownTopicOrPartitionException|UnknownTopicIdException",
        Unavailable,
        "Kafka does not host the topic, or a partition of it; was it deleted?",
    ),
    _Known(
        r"errors\.(?:\w*Sasl\w*|SslAuthentication|\w+Authorization)Exception: (?P<words>.+)",
        Refused,
        "Kafka refuses the executors ({words}); look at user, password and rights in log",
    ),
    _Known(
        r"No resolvable bootstrap urls given in bootstrap.servers",
        Unavailable,
        "no host name in log, Kafka's address, is known to this machine",
    ),
    _Known(
        r"(?:errors\.TimeoutException|KafkaException): (?P<what>.+)",
        Unavailable,
        "Kafka does not answer Spark ({what})",
    ),
    _Known(
        r"No space left on device",
        Unavailable,
        "a disk that Spark writes to is full; make room, or name another with spark.local.dir",
    ),
    _Known(
        r"Cannot assign requested address|Service 'sparkDriver' could not bind",
        Refused,
        "Spark's driver cannot listen where the profile says: host must be an address of this "
        "machine, and a port set by spark.driver.port must be free",
    ),
    _Known(
        r": (?P<what>All masters are unresponsive|Master removed our application.*)",
        Unavailable,
        "Spark's master dropped this application ({what})",
    ),
    _Known(
        r"SparkContext was shut down|stopped SparkContext|SparkContext has been shutdown",
        Unavailable,
        "Spark's driver stopped while it was needed",
    ),
)

_DRIVER_GONE = "Spark's driver died: it was killed, or ran out of memory (driver_memory)"


def translate(error: BaseException) -> PenstockError:
    """Turn what Spark, its Python half or the way between them raised into one of our errors.

    Args:
        error: As it was caught.

    Returns:
        An error whose message is one line: what happened and what to do.
    """
    if isinstance(error, PenstockError):
        return error
    text = _text(error)
    if isinstance(error, ConnectionError) or type(error).__name__ == "Py4JNetworkError" or not text:
        return Unavailable(_DRIVER_GONE)
    if ours := _OURS.search(text):
        return _RAISABLE[ours["kind"]](ours["words"])
    for known in _KNOWN:
        if found := re.search(known.pattern, text, re.MULTILINE):
            return known.kind(_line(known.words.format(**found.groupdict())))
    if "Traceback (most recent call last)" in text:
        return PlanFailed(_line(f"a task failed on an executor: {_raised(text)}"))
    return Unavailable(_line(f"Spark failed: {_gist(text)} (more is in driver.log)"))


def _text(error: BaseException) -> str:
    """All that an error knows; empty if only the JVM knew and is dead."""
    described = getattr(error, "_desc", None)
    if described is not None:
        return f"{described}\n{getattr(error, '_stackTrace', '')}"
    try:
        return str(error) or type(error).__name__
    except Exception:
        return ""


def _raised(text: str) -> str:
    """The exception of a Python traceback, with the line of the user's program if there is one."""
    trace = text.partition("Traceback (most recent call last)")[2]
    frames = [(found["file"], found["line"]) for found in _FRAME.finditer(trace)]
    own = [frame for frame in frames if not any(part in frame[0] for part in _LIBRARIES)]
    raised = _RAISED.search(trace)
    words = raised[0] if raised else "an exception"
    place = (own or frames)[-1:]
    return f"{place[0][0]}:{place[0][1]}: {words}" if place else words


def _gist(text: str) -> str:
    causes = [found["words"] for found in _CAUSE.finditer(text)]
    lines = _NOISE.sub("", text).splitlines()
    return causes[-1] if causes else next(iter(lines), "it did not say why").lstrip(": ")


def _line(words: str) -> str:
    line = redact(" ".join(words.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
