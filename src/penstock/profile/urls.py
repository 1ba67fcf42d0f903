"""URLs of a profile: variables filled in, secrets kept out of sight."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from penstock.errors import ProfileError

_SECRET = re.compile(
    r"(?i)\b((?:\w*password|\w*secret|\w*token|api_?key|access_?key)\s*=\s*)('[^']*'|[^\s&'\"]+)"
)

_VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|)")
_MARK = re.compile("\ue000(\\d+)\ue001")
_PLACES = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)"
    r"(?:(?P<user>[^:/?#]*?)(?::(?P<password>[^/?#]*))?@)?"
    r"(?P<host>[^@/?#]*)(?P<path>[^?#]*)(?P<query>.*)",
    re.DOTALL,
)


_FILES = ("passfile", "sslrootcert", "sslcert", "sslkey", "ca", "cert", "key")
"""Options of URLs that name files."""


def filled_url(where: str, template: object) -> str:
    """Fill the variables into a URL.

    Args:
        where: The place of the setting, for messages.
        template: The URL with variables `${NAME}`, `${NAME:-default}`, and `$$` for a dollar.

    Raises:
        ProfileError: It is no URL, or a variable is not set.
    """
    url = _filled(where, template)
    try:
        urlsplit(url)
    except ValueError as error:
        raise ProfileError(f"{where} is no URL: {error}") from None
    return url


def with_absolute_files(url: str) -> str:
    """Name the files in a URL's options, such as `passfile=`, so that any process finds them."""
    base, question, query = url.partition("?")
    options = [option.partition("=") for option in query.split("&")]
    named = (
        f"{name}={quote(str(Path(unquote(value)).absolute()), safe='/')}"
        if name in _FILES and value
        else f"{name}{equals}{value}"
        for name, equals, value in options
    )
    return base + question + "&".join(named)


def filled(where: str, template: object) -> str:
    """Fill the variables into a text that is no URL; raises as `filled_url` does."""
    if not isinstance(template, str) or not template:
        raise ProfileError(f"{where} must be a text, not {template!r}")
    return _VARIABLE.sub(lambda match: _value(where, match), template)


def _filled(where: str, template: object) -> str:
    if not isinstance(template, str) or not template:
        raise ProfileError(f"{where} must be a URL, not {template!r}")
    values: list[str] = []

    def mark(match: re.Match[str]) -> str:
        values.append(_value(where, match))
        return f"\ue000{len(values) - 1}\ue001"

    marked = _VARIABLE.sub(mark, template)
    if _MARK.fullmatch(marked):
        return values[0]
    places = _PLACES.fullmatch(marked)
    if places is None:
        return _fill(marked, values, str)
    parts = places.groupdict(default="")
    user = _fill(_literal(parts["user"]), values, _quoted)
    password = _fill(_literal(parts["password"]), values, _quoted)
    login = f"{user}:{password}@" if places["password"] is not None else user and f"{user}@"
    host = _fill(parts["host"], values, lambda value: quote(value, safe=":,[]"))
    return "".join(
        [
            parts["scheme"],
            login,
            host,
            _fill(parts["path"], values, _quoted),
            _fill(parts["query"], values, _quoted),
        ]
    )


def _value(where: str, match: re.Match[str]) -> str:
    name, default = match.groups()
    if match[0] == "$$":
        return "$"
    if name is None:
        raise ProfileError(f"{where}: a lone '$'; write ${{NAME}} for a variable, $$ for a dollar")
    value = os.environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise ProfileError(f"{where} needs the environment variable {name}, which is not set")
    return value


def _fill(text: str, values: list[str], encode: Callable[[str], str]) -> str:
    return _MARK.sub(lambda mark: encode(values[int(mark[1])]), text)


def _literal(text: str) -> str:
    """Escape what a person typed raw into a user name or password; marks stay as they are."""
    return (
        quote(unquote(text), safe="\ue000\ue001")
        .replace("%EE%80%80", "\ue000")
        .replace("%EE%80%81", "\ue001")
    )


def _quoted(value: str) -> str:
    return quote(value, safe="")


def redact(text: str) -> str:
    """Replace the passwords and tokens of all connection strings in a text by `***`."""
    text = re.sub(r"([\w+.-]+://[^\s:/@?#]*):\S*@", r"\1:***@", text)
    return re.sub(_SECRET, r"\1***", text)
