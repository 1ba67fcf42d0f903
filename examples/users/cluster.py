"""The example from end to end on a Spark cluster: what `make cluster` runs.

All that `stack.py` does, with one thing changed: the rows are made by Spark, on a standalone master
and a worker that are started here too. The program and the rows are the same.
"""

from __future__ import annotations

from stack import NAMES, run

if __name__ == "__main__":
    run("cluster", (*NAMES, "spark"))
