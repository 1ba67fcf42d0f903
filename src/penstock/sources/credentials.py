"""What an `Http` source proves itself with, and how it is kept out of messages."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from penstock.profile import EnvVar

Text = str | EnvVar
"""A setting: as it is, or an environment variable that is read when the source is opened."""


def resolve(text: Text) -> str:
    """The setting's value now; raises `ProfileError` when its variable is not set."""
    return text.resolve() if isinstance(text, EnvVar) else text


def place(url: str) -> str:
    """An address for people: without user, password and query, where secrets hide."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Auth(Protocol):
    """A way to authenticate: the value of the header `Authorization` and what in it is secret."""

    def header(self) -> str:
        """The header's value."""

    def secrets(self) -> Iterable[str]:
        """What must not appear in a message."""


@dataclass(frozen=True)
class Bearer:
    """Authenticate with a token: `auth=ps.Bearer(ps.env("TOKEN"))`."""

    token: Text = field(repr=False)

    def header(self) -> str:
        return f"Bearer {resolve(self.token)}"

    def secrets(self) -> Iterable[str]:
        return [resolve(self.token)]


@dataclass(frozen=True)
class Basic:
    """Authenticate with a name and a password: `auth=ps.Basic("me", ps.env("PASSWORD"))`."""

    user: Text
    password: Text = field(repr=False)

    def header(self) -> str:
        return f"Basic {self._encoded()}"

    def secrets(self) -> Iterable[str]:
        return [resolve(self.password), self._encoded()]

    def _encoded(self) -> str:
        pair = f"{resolve(self.user)}:{resolve(self.password)}"
        return base64.b64encode(pair.encode()).decode()


class Secrets:
    """Takes secrets out of text that others wrote."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values: list[str] = []
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Learn of one more."""
        if value and value not in self._values:
            self._values = sorted([*self._values, value], key=len, reverse=True)

    def hide(self, text: str) -> str:
        """The text with every secret replaced by three asterisks."""
        for value in self._values:
            text = text.replace(value, "***")
        return text
