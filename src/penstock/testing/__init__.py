"""What users test their pipelines with, and Penstock itself too.

`run` runs a pipeline or a stream in this process on given records; `check_map` checks one map.
Logs and stores in memory, a clock that a test sets, and faults at named points do the rest.
"""

from penstock.testing.clock import ManualClock
from penstock.testing.faulty import at, without
from penstock.testing.memory_log import MemoryLog
from penstock.testing.memory_sink import MemorySink, MemoryStore, MemoryTable, MemoryTopicSink
from penstock.testing.run import (
    DeadLetter,
    Record,
    Records,
    Result,
    check_map,
    delete,
    run,
)

__all__ = [
    "DeadLetter",
    "ManualClock",
    "MemoryLog",
    "MemorySink",
    "MemoryStore",
    "MemoryTable",
    "MemoryTopicSink",
    "Record",
    "Records",
    "Result",
    "at",
    "check_map",
    "delete",
    "run",
    "without",
]
