"""Values that programs take from the environment: addresses and secrets."""

from __future__ import annotations

import os
from dataclasses import dataclass

from penstock.errors import ProfileError


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


def env(name: str, default: str | None = None) -> EnvVar:
    """Name an environment variable, to be read when a source is opened: for addresses and secrets.

    Args:
        name: The variable's name.
        default: What it is when the variable is not set.
    """
    return EnvVar(name, default)
