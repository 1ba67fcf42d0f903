"""The supply of a cluster: a streaming query of Spark, whose micro-batches executors work on.

Spark chooses the bounds of a micro-batch and runs its tasks. What must be exact is Penstock's: the
bounds are recorded at home before the tasks run, and where the lanes stand is in their stores.
Spark's checkpoint is made anew for each query, and nothing rests on it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

from penstock.engines.channel import Channel, ChannelClosed
from penstock.engines.flow import DEEP, Flow
from penstock.engines.lanes import LaneWriter, least
from penstock.engines.planning import DEADLY
from penstock.engines.reading import PAUSE, concerned, opened, plan_here
from penstock.engines.spark import failures, kafka
from penstock.engines.spark.bounds import MOST_BYTES, Bounds
from penstock.engines.spark.failures import WorkersDied
from penstock.engines.spark.tasks import Tasks
from penstock.engines.supply import Planned
from penstock.errors import Unavailable
from penstock.plan import REPLAY
from penstock.records import Limits

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

    from penstock.engines.desk import Desk
    from penstock.engines.moving import Place
    from penstock.engines.spark.session import Cluster
    from penstock.home.batches import OpenBatch

LOOK = 0.05
"""Seconds between two looks whether a query shall end."""

GLANCE = 1.0
"""Seconds between two looks at the logs' ends."""

FINISH = 20.0
"""Seconds for the micro-batch under way when a query shall end."""

_REPLAYS = Limits(20_000, 4 << 20)
_SAMPLE = Limits(200, 4 << 20)


class Query:
    """Gets planned micro-batches from streaming queries, one after the other.

    Args:
        place: The segment and its surroundings.
        cluster: Where the tasks run.
        desk: The group's connections.
        writers: The group's lanes, claimed.
        log_id: Identity of the segment's log.
    """

    def __init__(
        self,
        place: Place,
        cluster: Cluster,
        desk: Desk,
        writers: Sequence[LaneWriter],
        log_id: str,
    ) -> None:
        self.flow = Flow()
        self.last = 0
        self._place = place
        self._cluster = cluster
        self._desk = desk
        self._writers = writers
        self._starts: dict[str, dict[int, int]] = {}
        self._nexts: dict[int, int] = {}
        self._tasks = Tasks(place, cluster, log_id, desk.feed.bases)
        self._using = Lock()  # of the desk: Spark calls on a thread of its own
        self._working = Lock()
        self._ending = Event()
        self._error: BaseException | None = None

    # --- life ---

    def start(self, out: Channel[Planned], proceed: Callable[[], bool]) -> None:
        self._out = out
        # only now: what was left open is finished, and has moved the lanes
        self._starts = {writer.name: writer.starts for writer in self._writers}
        self._nexts = least(self._writers)
        self._thread = out.fed("spark", lambda: self._run(proceed))

    def end(self) -> None:
        self._ending.set()
        self._thread.join()
        self._tasks.close()

    def _run(self, proceed: Callable[[], bool]) -> None:
        """Run queries until there is no more to do; the body of the supply's thread."""
        while self._goes_on(proceed):
            self._cluster.revive()
            where = self._cluster.scratch
            with tempfile.TemporaryDirectory(dir=where, prefix="checkpoint-") as folder:
                try:
                    self._run_query(Path(folder), proceed)
                except ChannelClosed:
                    raise
                except Exception as error:
                    raise failures.translate(error) from error

    def _goes_on(self, proceed: Callable[[], bool]) -> bool:
        return not self._ending.is_set() and proceed()

    def _run_query(self, folder: Path, proceed: Callable[[], bool]) -> None:
        bounds = Bounds(folder, self._place.segment.name, self._own(), *self._fitting())
        query = self._started(folder, bounds)
        looked = 0.0
        try:
            while query.isActive and not bounds.misfit and self._goes_on(proceed):
                if time.monotonic() - looked > GLANCE:
                    looked = time.monotonic()
                    self._look()
                self._ending.wait(LOOK)
        finally:
            bounds.leave()
            self._let_finish(query)
        if self._error is not None:
            raise self._error
        if (error := query.exception()) is not None:
            raise error

    def _let_finish(self, query: StreamingQuery) -> None:
        """Let the micro-batch under way come to its end; one that does not is run again."""
        finished = self._working.acquire(timeout=FINISH)
        if finished:
            self._working.release()  # `stop` waits for the next call, which leaves all alone
        query.stop()  # cancels its tasks
        if not finished:
            raise Unavailable(f"Spark did not finish a micro-batch in {FINISH:.0f} s; trying again")

    def _own(self) -> dict[int, int]:
        return {p: at for p, at in self._nexts.items() if p != REPLAY}

    def _fitting(self) -> tuple[int, int]:
        """How many records of the size that comes next make a micro-batch, and how many at most."""
        most = self._place.options.batch_records or self._place.systems.spark.records
        with closing(self._place.systems.log(self._place.segment)) as log:
            sample = log.read(self._own(), _SAMPLE).records
        if not sample.height:
            return most, most
        size = int(sample["value"].bin.size().sum() or 0) // sample.height
        return max(1, min(most, MOST_BYTES // max(1, size))), most

    def _started(self, folder: Path, bounds: Bounds) -> StreamingQuery:
        place = self._place
        options = {
            "maxOffsetsPerTrigger": str(bounds.records),
            "minPartitions": str(self._tasks.number),
        }
        session = self._cluster.session
        # each query has its own queue, so that one that catches up holds up no other
        session.sparkContext.setLocalProperty("spark.scheduler.pool", f"{id(self)}")
        stream = kafka.stream(
            session, place.systems.log_url, place.segment.name, bounds.nexts, options
        )
        trigger = f"{round(place.systems.spark.trigger * 1000)} milliseconds"
        writer = stream.writeStream.foreachBatch(
            lambda frame, number: self._called(frame, number, bounds)
        )
        return (
            writer.option("checkpointLocation", folder.as_uri())
            .queryName(f"{place.pipeline} {place.segment.name} {id(self)}")
            .trigger(processingTime=trigger)
            .start()
        )

    def _look(self) -> None:
        """Learn the logs' ends, tell how far the lanes are, and pass on what was sent back."""
        self._cluster.watch(busy=self._working.locked())
        with self._using:
            self._desk.mark(self._writers)
            self._desk.feed.look()
            micro = self._desk.feed.replay(self._nexts, _REPLAYS)
            if micro is None or not self.flow.admit(DEEP, PAUSE):
                return
            self.flow.started()
            planned = plan_here(self._desk, self._place.planning, micro, self._starts)
        self._nexts.update({p: span.end for p, span in micro.spans.items()})
        self._out.put(planned)

    # --- a micro-batch: on Spark's thread ---

    def _called(self, frame: DataFrame, number: int, bounds: Bounds) -> None:
        with self._working:
            try:
                if not bounds.left:
                    self._work(frame, bounds, number)
            except BaseException as error:
                bounds.leave()
                self._error = error
                raise

    def _work(self, frame: DataFrame, bounds: Bounds, number: int) -> None:
        spans = bounds.spans(number)
        lanes = concerned(spans, self._starts)
        while not self.flow.admit(DEEP, PAUSE):
            if self._ending.is_set():
                raise ChannelClosed
        if lanes:
            with self._using:
                batch = opened(self._desk, self._place.planning, spans, lanes)
            planned = self._planned(frame, bounds, batch)
            with self._using:
                self._desk.feed.look()  # raises when the topic is another one by now
            self.last = sum(len(span) for span in spans.values())
            self.flow.started()
            self._out.put(planned)
        bounds.passed(spans)
        self._nexts.update(bounds.nexts)

    def _planned(self, frame: DataFrame, bounds: Bounds, batch: OpenBatch) -> Planned:
        starts = {name: self._starts[name] for name in batch.lanes}
        try:
            gathered = self._tasks.run(frame, batch, starts)
        except WorkersDied:
            suspected = replace(batch, attempts=DEADLY + 1)
            with self._using:
                micro = self._desk.feed.reread(batch.spans)
                outcome = self._place.planning(micro, suspected, starts)
            return Planned.here(batch, micro, outcome)
        bounds.judge(batch.spans, gathered.size)
        return Planned(batch, gathered.micro, gathered.outcome(starts), gathered.tails)
