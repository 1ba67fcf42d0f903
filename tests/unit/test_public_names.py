from __future__ import annotations

import subprocess
import sys

import pytest

import penstock


def test_the_public_names() -> None:
    assert penstock.__all__ == [
        "Basic",
        "Bearer",
        "Check",
        "Contract",
        "Csv",
        "Cursors",
        "Digits",
        "Files",
        "Generator",
        "Http",
        "Length",
        "Links",
        "Name",
        "OAuth2",
        "Offsets",
        "OneOf",
        "Pages",
        "Pattern",
        "Pipeline",
        "Postgres",
        "PostgresChanges",
        "Range",
        "Retention",
        "Since",
        "Text",
        "born",
        "detokenise",
        "env",
        "key",
        "masked",
    ]
    for name in penstock.__all__:
        assert getattr(penstock, name) is getattr(penstock, name)
    with pytest.raises(AttributeError, match="no attribute 'Kafka'"):
        getattr(penstock, "Kafka")  # noqa: B009


def test_importing_penstock_loads_nothing_heavy() -> None:
    program = "import sys, penstock; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "penstock" in loaded
    assert not loaded & {"polars", "pyarrow", "psycopg", "httpx", "msgspec", "typer", "rich"}
