from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.contract import fast


@pytest.fixture(scope="module", params=[0, fast.FEW], ids=["by columns", "one by one"])
def each_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Decode few documents by columns, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "FEW", request.param)
        yield
