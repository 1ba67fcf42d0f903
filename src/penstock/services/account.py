"""Which operating system user a server runs as.

PostgreSQL refuses to run as root. For root it therefore runs as the user who owns its data
directory, at first a system user made for the purpose. That user often cannot enter the
directories above (a home of mode 700); rather than opening them to everybody, the server then
keeps the one capability that lets it pass. An ordinary user's server runs as that user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import Refused

SYSTEM_USER = "penstock"


@dataclass(frozen=True)
class Account:
    """The user that a server runs as, when it is not the one who runs Penstock."""

    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give a directory that Penstock made to the server's user."""
        os.chown(path, self.uid, self.gid)

    def wrap(self, command: list[str], paths: Iterable[Path]) -> list[str]:
        """Return the command that runs `command` as this user.

        Args:
            command: A program and its arguments.
            paths: What it must reach.

        Raises:
            Refused: This machine has no `setpriv`.
        """
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise Refused(
                "PostgreSQL does not run as root, and this machine has no setpriv to run it as "
                "somebody else; install util-linux, or run as an ordinary user"
            )
        identity = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        kept = "-all" if all(self._reaches(p) for p in paths) else "-all,+dac_override"
        caps = [f"--inh-caps={kept}", f"--ambient-caps={kept}"]
        return [setpriv, *identity, *caps, "--", *command]

    def _reaches(self, path: Path) -> bool:
        entry = path.stat()
        readable = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
        if entry.st_uid != self.uid and entry.st_mode & readable != readable:
            return False
        above = (parent.stat() for parent in path.resolve().parents)
        return all(s.st_uid == self.uid or s.st_mode & stat.S_IXOTH for s in above)


def account_for(data: Path) -> Account | None:
    """Find the user for a server with this data directory; None for the one we run as.

    Args:
        data: The data directory, which need not exist.

    Raises:
        Refused: We are root and no system user could be made.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    entry = _find(SYSTEM_USER) or _create(SYSTEM_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def _find(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create(name: str) -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
        words = made.stderr.strip()
    except OSError as error:
        words = str(error)
    entry = _find(name)  # another command may have been faster
    if entry is None:
        raise Refused(
            f"PostgreSQL does not run as root, and the system user {name!r} could not be made "
            f"({words}); make that user, or run as an ordinary user"
        )
    return entry
