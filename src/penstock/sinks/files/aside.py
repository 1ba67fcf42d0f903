"""A folder of a crash test's own, removed at its end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager

from penstock.filesystems import open_url
from penstock.filesystems.address import read


@contextmanager
def made(url: str) -> Iterator[None]:
    """Remove everything below a folder at the end of the block; the sinks make it.

    Args:
        url: Of a store of files that nobody else has.

    Raises:
        Unavailable: The store is away.
        Refused: It may not be emptied.
    """
    try:
        yield
    finally:
        with closing(open_url(url)) as files:
            files.delete([entry.name for entry in files.list()])
        place = read(url)
        if place.scheme == "file":
            shutil.rmtree(place.path, ignore_errors=True)
