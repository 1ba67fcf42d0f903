"""The one tree of errors.

    PenstockError
    ├── DeclarationError        the program is wrong; carries the user's file and line
    ├── ProfileError            penstock.toml or an environment variable is wrong
    ├── CheckError              the program is right but cannot start here; lists every finding
    ├── ContractError           a contract's change would break its readers or its tables
    ├── PlanFailed              a batch failed whole: the fault is the code, not a record
    ├── Unavailable             a system is away; the engine waits and tries again
    ├── Refused                 a system answered, and its answer is a final no
    │   └── LogChanged          the log is not the one that progress was made against
    ├── Rejected                a store does not take certain rows; the engine bisects
    ├── Fenced                  a successor owns this partition now; stop writing
    └── Busy                    somebody else holds what this command needs

Every message is a sentence with the fact, the offending value and what to do next.
No message may hold a secret: connection strings go through `penstock.profile.redact` first.
"""

from __future__ import annotations

from collections.abc import Sequence


class PenstockError(Exception):
    """The root of every error that Penstock raises on purpose."""

    exit_code = 1


class DeclarationError(PenstockError):
    """The user's program declares something that cannot work.

    Args:
        message: The fact, the offending value and what to write instead.
        file: The user's file, when known.
        line: The line in that file.
    """

    exit_code = 2

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None) -> None:
        """Put file and line before the message, as compilers do."""
        place = f"{file}:{line}" if line else file
        where = f"{place}: " if place else ""
        super().__init__(where + message)
        self.message = message
        self.file = file
        self.line = line


class ProfileError(PenstockError):
    """A profile, a store's URL or an environment variable is wrong or missing."""

    exit_code = 2


class CheckError(PenstockError):
    """The doctor found reasons not to start.

    Args:
        findings: One sentence for each reason, in the order of the program.
    """

    def __init__(self, findings: Sequence[str]) -> None:
        """Join the findings, one on each line."""
        super().__init__("\n".join(findings))
        self.findings = list(findings)


class ContractError(PenstockError):
    """A contract changed in a way that breaks readers or stored rows."""


class PlanFailed(PenstockError):
    """A micro-batch failed whole, and sampled single records too: the code is at fault."""


class Unavailable(PenstockError):
    """A system cannot be reached or asks to be left alone; trying later may work.

    Args:
        message: What is away and why.
        retry_after: Seconds that the system asked to wait, when it did.
    """

    exit_code = 3

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """Keep what the system asked for beside the message."""
        super().__init__(message)
        self.retry_after = retry_after


class Refused(PenstockError):
    """A system answered, and trying again would not change its answer."""


class LogChanged(Refused):
    """A log was re-created, restored, truncated or aged past the progress made against it."""


class Rejected(PenstockError):
    """A store refused rows that the plan accepts.

    Args:
        message: The store's own words.
        code: The store's own code (for PostgreSQL the SQLSTATE), when it gives one.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        """Keep the store's code beside its words."""
        super().__init__(message)
        self.code = code


class Fenced(PenstockError):
    """A successor with a higher epoch owns this partition; nothing more may be written."""


class Busy(PenstockError):
    """Another process holds what this command needs; the message names it."""
