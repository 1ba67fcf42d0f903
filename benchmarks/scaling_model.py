"""What a deployment of so many records a second needs, from what `scaling` measured.

    python -m benchmarks.scaling_model RESULTS [--docs docs/scaling.md] [--rate 1000000]

Prints tables in Markdown; with `--docs` it puts them between the two marks of that file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import scaling

BEGIN, END = "<!-- model -->", "<!-- /model -->"

BUSY = 0.7
"""What share of its cores a machine may use for long: the rest is for peaks and for catching up."""

BYTES = 420
BATCH = 150_000
"""Records of this size in the largest micro-batch that the engine makes, 64 MB."""

PLAN = f"plan, {scaling.EXECUTORS[-1]} × {scaling.PARTITIONS[1]}"
EXECUTOR = ("executor: JVM", "executor: Python")
DRIVER = ("driver: JVM", "driver: Python")


class Figures:
    """Results by name.

    Args:
        results: As `python -m benchmarks --out` writes them.
    """

    def __init__(self, results: Sequence[Mapping[str, object]]) -> None:
        self._by_name = {str(one["name"]): float(str(one["value"])) for one in results}

    def __call__(self, name: str) -> float:
        return self._by_name[name]

    def spent(self, name: str, roles: Sequence[str]) -> float:
        """Microseconds of processor time for each record."""
        return sum(self._by_name.get(f"{name}: {role}", 0.0) for role in roles)


@dataclass(frozen=True)
class Link:
    """Something that a record passes.

    Args:
        name: What.
        most: Records/s of the most that there can be of it, or of one of it.
        grows: How one gets more; empty when one cannot.
        need: What the wanted rate takes.
    """

    name: str
    most: float
    grows: str
    need: str


def links(figures: Figures, rate: float) -> list[Link]:
    """All links of a way from Kafka to PostgreSQL by append, staged by the executors."""
    executor = figures.spent("append, apart", EXECUTOR)
    driver = _driver(figures)
    broker = figures.spent(PLAN, ("Kafka",))
    store = figures.spent("append, apart", ("PostgreSQL",))
    per_core: Callable[[float], float] = lambda spent: BUSY * 1e6 / max(spent, 1e-9)  # noqa: E731
    overhead = figures("tiny: period") / 1000
    return [
        Link("executors, one core", per_core(executor), "more executors",
             f"{rate / per_core(executor):.0f} cores"),
        Link("brokers, one core, readers only", per_core(broker), "more brokers",
             f"{rate / per_core(broker):.0f} cores, {rate * BYTES / 1e6:.0f} MB/s each way"),
        Link("driver, one core", per_core(driver), "more cores, or several topics",
             f"{rate / per_core(driver):.1f} cores"),
        Link("micro-batches of one segment, were the work itself done in no time",
             BATCH / overhead, "larger micro-batches, or several topics",
             f"{rate / BATCH:.1f} micro-batches a second, each in {BATCH / rate * 1e3:.0f} ms"),
        Link("PostgreSQL, processor, one core", per_core(store), "more cores",
             f"{rate / per_core(store):.0f} cores"),
        Link("PostgreSQL, the one commit, append", figures("sink, append: commit"),
             "several lanes: topics, tables or databases",
             f"{rate / figures('sink, append: commit'):.1f} at once"),
        Link("PostgreSQL, the one commit, upsert", figures("sink, upsert: commit"),
             "several lanes: topics, tables or databases",
             f"{rate / figures('sink, upsert: commit'):.1f} at once"),
    ]  # fmt: skip


def _driver(figures: Figures) -> float:
    """Microseconds of the driver for a record of the largest micro-batches.

    Most of what it spends is for a micro-batch, whatever that holds, which the tiny ones show.
    """
    each = figures.spent("tiny", DRIVER) * scaling.TINY
    rest = figures.spent("append, apart", DRIVER) - each / scaling.RECORDS
    return max(rest, 0.0) + each / BATCH


def measured(figures: Figures) -> Iterator[str]:
    """The rates on the machine that was measured, and who spent what."""
    yield "| executors × partitions | records/s | their JVM | their Python | driver | Kafka |"
    yield "|---|---|---|---|---|---|"
    for executors in scaling.EXECUTORS:
        for partitions in scaling.PARTITIONS:
            name = f"plan, {executors} × {partitions}"
            spent = [figures.spent(name, (role,)) for role in EXECUTOR]
            spent += [figures.spent(name, DRIVER), figures.spent(name, ("Kafka",))]
            cells = " | ".join(f"{one:.1f}" for one in spent)
            yield f"| {executors} × {partitions} | {figures(f'{name}: rate'):,.0f} | {cells} |"
    yield ""
    yield "| into PostgreSQL | records/s | executors | driver | Kafka | PostgreSQL |"
    yield "|---|---|---|---|---|---|"
    for name in scaling.SINKS:
        roles = (EXECUTOR, DRIVER, ("Kafka",), ("PostgreSQL",))
        cells = " | ".join(f"{figures.spent(name, role):.1f}" for role in roles)
        yield f"| {name} | {figures(f'{name}: rate'):,.0f} | {cells} |"
    yield ""
    yield (
        f"A micro-batch of {scaling.TINY} records comes every {figures('tiny: period'):.0f} ms "
        f"when there is always more: its fixed cost, on {scaling.EXECUTORS[-1]} executors and "
        f"{scaling.PARTITIONS[1]} partitions, of which the driver works "
        f"{figures.spent('tiny', DRIVER) * scaling.TINY / 1000:.0f} ms."
    )


def needed(figures: Figures, rate: float) -> Iterator[str]:
    """What the wanted rate needs, and what gives way first."""
    found = links(figures, rate)
    yield f"| link | records/s at most | {rate:,.0f} records/s need | more of it by |"
    yield "|---|---|---|---|"
    for link in found:
        yield f"| {link.name} | {link.most:,.0f} | {link.need} | {link.grows} |"
    weakest = min((one for one in found if "one core" not in one.name), key=lambda one: one.most)
    yield ""
    yield (
        f"**The weakest link is: {weakest.name}**, at {weakest.most:,.0f} records/s. "
        f"{rate:,.0f} records/s need {rate / weakest.most:.1f} times as much of it, which is to be "
        f"had only by {weakest.grows}."
    )


def main() -> None:
    """Print the tables, or put them into the documentation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling_model")
    parser.add_argument("results", type=Path, help="what `python -m benchmarks --out` wrote")
    parser.add_argument("--docs", type=Path, help="the file whose tables are renewed")
    parser.add_argument("--rate", type=float, default=1e6, help="records/s that are wanted")
    asked = parser.parse_args()
    said = json.loads(asked.results.read_text())
    figures = Figures(said["results"])
    lines = [f"Measured on: {said['conditions']}.", "", *measured(figures), ""]
    text = "\n".join([*lines, *needed(figures, asked.rate)])
    if asked.docs is None:
        print(text)
        return
    before, _, rest = asked.docs.read_text().partition(BEGIN)
    asked.docs.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
