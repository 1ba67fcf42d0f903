"""Checks of what a program says to a source, with the program's own file and line in the error."""

from __future__ import annotations

from penstock import site, units


def require(ok: bool, message: str) -> None:
    """Raise `DeclarationError` with the program's file and line unless `ok`.

    Args:
        ok: What must hold.
        message: What is wrong, with the value, and what to write instead.
    """
    if not ok:
        raise site.caller().error(message)


def seconds(duration: str | float, name: str) -> float:
    """Read a duration of a program: seconds as a number, or text such as `"1m"`, `"500ms"`.

    Args:
        duration: The number or text.
        name: The option that it was given to, for the error.

    Raises:
        DeclarationError: It is neither, or not greater than zero.
    """
    if isinstance(duration, str):
        try:
            return units.seconds(duration)
        except ValueError as error:
            raise site.caller().error(f"{name}=: {error}") from None
    require(
        0 < duration < float("inf"),
        f"{name}={duration!r} is no duration: write seconds above zero, or '500ms', '10s', '1m'",
    )
    return float(duration)
