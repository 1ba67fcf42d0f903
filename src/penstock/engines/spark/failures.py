"""What goes wrong in Spark, in our words."""

from __future__ import annotations

from penstock.errors import PenstockError, Unavailable


class WorkersDied(Unavailable):
    """A task was tried so often as Spark may, and each time its process or executor died of it."""


def translate(error: BaseException) -> PenstockError:
    """Turn what Spark, its Python half or the way between them raised into one of our errors.

    Args:
        error: As it was caught.

    Returns:
        An error whose message is one line: what happened and what to do.
    """
    if isinstance(error, PenstockError):
        return error
    words = str(error)
    line = next((line for line in words.splitlines() if line.strip()), type(error).__name__)
    return Unavailable(f"Spark failed: {line[:300]}")
