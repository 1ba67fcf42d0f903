"""The example's modules, and its API on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

HERE = Path(__file__).parent.parent
sys.path.insert(0, str(HERE))

from api import Api  # noqa: E402 - the example is a folder, not a package


@pytest.fixture
def api() -> Iterator[Api]:
    """The imitation, on a free port; a test sets its `trouble`."""
    with Api() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
