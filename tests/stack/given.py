"""Servers that run already, for developers: tests use them and do not start their own.

PENSTOCK_TEST_STACK="kafka=127.0.0.1:9092,cassandra=127.0.0.1:9042,registry=http://127.0.0.1:8081/apis/ccompat/v7"
and spark=127.0.0.1:7077 for a standalone master with a worker.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLE = "PENSTOCK_TEST_STACK"
NAMES = ("kafka", "registry", "cassandra", "spark", "hdfs")


def servers() -> Mapping[str, str]:
    """Read the variable: URLs by the server's name."""
    pairs = [part.partition("=") for part in os.environ.get(VARIABLE, "").split(",") if part]
    if strange := {name for name, _, _ in pairs} - {*NAMES}:
        raise ValueError(f"{VARIABLE} names {sorted(strange)}; there are {', '.join(NAMES)}")
    return {name: url if "://" in url else f"{name}://{url}" for name, _, url in pairs}
