"""Where a server's Unix socket lies."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_SOCKET_LIMIT = 100


def socket_folder(home: Path) -> Path:
    """Return where the socket of a server lies: in its folder, if the path is short enough."""
    place = home / "run"
    if len(os.fsencode(place)) <= _SOCKET_LIMIT - len("/.s.PGSQL.5432"):
        return place
    # A socket's path has at most 107 bytes. Every command must find the same place, so not TMPDIR.
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path("/tmp") / f"penstock-{digest}"  # noqa: S108
