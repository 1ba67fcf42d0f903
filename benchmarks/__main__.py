"""`python -m benchmarks [--quick] [--no-peers] [--out FILE] [NAME…]`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import changes, files, kafka, lake, masking, spark, suite
from benchmarks.suite import Result


def main() -> None:
    """Measure, print a table, and keep the figures."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are taken away all the same
    options = _options()
    quick = options.quick
    parts: dict[str, Callable[[], Iterable[Result]]] = {
        "throughput": lambda: suite.throughput(
            200_000 if quick else 1_000_000, not options.no_peers
        ),
        "whole": lambda: suite.whole_way(200_000 if quick else 1_000_000),
        "latency": lambda: suite.latency(1_000, 10 if quick else 60),
        "memory": lambda: suite.memory(
            {"200k records": 200_000} if quick else {"1M records": 10**6, "10M records": 10**7}
        ),
        "start": suite.start,
        **changes.parts(quick),
        **lake.parts(quick),
        **files.parts(quick),
        **masking.parts(quick),
        **kafka.parts(quick, not options.no_peers),
        **spark.parts(quick, not options.no_peers),
    }
    print(suite.conditions(), flush=True)
    results: list[Result] = []
    for name in _chosen(options.names, parts):
        for result in parts[name]():
            results.append(result)
            print(_line(result), flush=True)
            if options.out:  # at once: what comes next may fail
                _keep(options.out, results)
    print(suite.conditions())


def _keep(file: Path, results: Sequence[Result]) -> None:
    figures = {"conditions": suite.conditions(), "results": [asdict(r) for r in results]}
    file.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")


def _chosen(names: Sequence[str], parts: Iterable[str]) -> list[str]:
    """All parts without names; a name stands also for the parts that begin with it."""
    for name in names:
        if not any(_means(name, part) for part in parts):
            raise SystemExit(f"there is no benchmark {name!r}; there are {', '.join(parts)}")
    return [part for part in parts if not names or any(_means(name, part) for name in names)]


def _means(name: str, part: str) -> bool:
    return part == name or part.startswith(f"{name}-")


def _line(result: Result) -> str:
    digits = 0 if result.value >= 1000 else 2
    return f"{result.name:<58}{result.value:>12,.{digits}f} {result.unit:<10} {result.note}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "names",
        nargs="*",
        help="throughput, whole, latency, memory, start, changes, files, kafka and spark (all of "
        "…-…), scaling",
    )
    parser.add_argument("--quick", action="store_true", help="fewer records: a look, no result")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--out", type=Path, help="keep the figures in this file, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
