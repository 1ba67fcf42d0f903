"""Values that programs take from the environment: addresses and secrets."""

from __future__ import annotations

import os
from dataclasses import dataclass

from penstock.errors import ProfileError

LEAST = 16
"""Bytes that a key must have."""


@dataclass(frozen=True)
class EnvVar:
    """A value that is read from the environment when it is needed, never before.

    Args:
        name: The variable's name.
        default: What it is when the variable is not set; None makes that an error.
    """

    name: str
    default: str | None = None

    def resolve(self) -> str:
        """Read the variable.

        Raises:
            ProfileError: It is not set and has no default.
        """
        value = os.environ.get(self.name, self.default)
        if value is None:
            raise ProfileError(f"the environment variable {self.name} is not set; export it")
        return value

    def secret(self) -> bytes:
        """Read a key to mask or to encrypt with.

        Raises:
            ProfileError: It is not set, or too short to keep anything secret.
        """
        found = self.resolve().encode()
        if len(found) < LEAST:
            raise ProfileError(
                f"the environment variable {self.name} is a key and has {len(found)} bytes, at "
                f"least {LEAST} are needed; make one with `openssl rand -base64 32`"
            )
        return found


def env(name: str, default: str | None = None) -> EnvVar:
    """Name an environment variable, to be read when a source is opened: for addresses and secrets.

    Args:
        name: The variable's name.
        default: What it is when the variable is not set.
    """
    return EnvVar(name, default)
