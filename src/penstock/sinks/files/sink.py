"""The sink that writes a lane's rows to files, and their manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import polars as pl

from penstock import faults
from penstock import receipts as counting
from penstock.errors import Fenced, PenstockError, Refused, Rejected, Unavailable
from penstock.filesystems import open_url
from penstock.interfaces import Capabilities
from penstock.plan import Lane
from penstock.profile import Store
from penstock.records import Counts, LaneKey, Progress, Receipt, Step
from penstock.sinks.files import layout, manifest
from penstock.sinks.files.compaction import Compacted, Compaction
from penstock.sinks.files.journal import Journal
from penstock.sinks.files.manifest import File, Manifest, State
from penstock.sinks.files.reading import Reading
from penstock.sinks.files.showing import Showing
from penstock.sinks.files.staging import Staging
from penstock.sinks.files.table import Table, changed


class FileSink:
    """Appends a lane to a folder of Parquet or NDJSON files: exactly once.

    Rows are staged as files with hidden names. The next manifest, which can be created only once,
    is the commit: it lists them, and where the lane stands then. After that they are renamed into
    the table's folder, and whoever comes after a crash goes on with that. A reader of the folder
    sees a file whole or not at all and no row twice; after a crash it may see a micro-batch late.
    One that was cut into several folders it sees folder by folder.

    Args:
        store: The store, `file://`, `s3://` or `hdfs://`, with the settings of its tables.
        lane: The lane, of mode `append`.
        key: Under what the progress is kept.

    Raises:
        ProfileError: The URL or a table's setting is wrong.
    """

    def __init__(self, store: Store, lane: Lane, key: LaneKey) -> None:
        self._table = Table(store, lane)
        settings = self._table.settings
        self.capabilities = Capabilities(
            upsert=False,
            delete=False,
            least_commit_interval=settings.age,
            most_records=settings.rows,
            most_bytes=settings.bytes,
            apart=True,
        )
        self._key = key
        self._files = open_url(store.url)
        self._epochs: dict[int, int] = {}
        self._staged: list[File] = []
        self._doubtful: list[File] = []
        self._opened: tuple[Journal, Showing, Staging] | None = None

    # --- before the first row ---

    def open(self) -> None:
        self._table.check()
        journal, _, _ = self._parts()
        if self._table.opening(self._files, journal.load(), self._key):
            journal.append(self._opening)

    def preview(self) -> Sequence[str]:
        self._table.check()
        journal, _, _ = self._parts()
        return self._table.opening(self._files, journal.load(), self._key)

    def claim(self, epochs: Mapping[int, int]) -> Mapping[int, Progress]:
        self.rollback()
        journal, showing, _ = self._parts()
        journal.load()
        showing.roll_forward()
        state = journal.append(lambda state: self._claimed(state, epochs))
        showing.roll_forward()  # what was committed in between
        self._epochs.update(epochs)
        self._drop_doubtful(state)
        return {p: state.progress[self._key, p] for p in epochs}

    def progress(self) -> Mapping[int, Progress]:
        self._table.check()
        state = self._parts()[0].load()
        return {p: stands for (key, p), stands in state.progress.items() if key == self._key}

    # --- one micro-batch ---

    def stage(self, rows: pl.DataFrame) -> Receipt:
        staged = self._parts()[2].stage(rows, *self._place(rows))
        self._staged += staged
        return Receipt(_rows(staged))

    def commit(
        self, receipts: Sequence[Receipt], steps: Mapping[int, Step]
    ) -> Mapping[int, Progress]:
        journal, showing, staging = self._parts()
        apart = [f for r in receipts if r.token for f in manifest.read_files(r.token)]
        files = (*self._staged, *apart)
        with self._failures():
            staged = Counter(_rows(files))
            counting.check(self._key.lane, receipts, staged, steps)
            staging.verify(apart)
            counts = {p: Counts(written=number) for p, number in staged.items()}
            counted = counting.counted(steps, counts)
            self._doubtful += self._staged
            journal.append(lambda state: self._moved(state, counted, files))
            self._staged, self._doubtful = [], []
        faults.point("listed")
        showing.roll_forward()
        return {p: step.after for p, step in counted.items()}

    def rollback(self) -> None:
        """Remove what is staged; what a commit of unknown outcome lists is left to `claim`."""
        staged = [file.staged for file in self._staged if file not in self._doubtful]
        self._staged = []
        if staged:
            with suppress(PenstockError):  # `sweep` finds it some day
                self._files.delete(staged)

    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        self.rollback()
        return layout.unfit(self._table.settings.parts, rows)

    # --- apart ---

    def lay(self, batch: int, partition: int, epoch: int) -> str:
        """Name what staged files shall begin with; nothing needs to be made."""
        return f"{partition} {epoch}"

    def stage_apart(self, place: str, rows: pl.DataFrame) -> Receipt:
        partition, epoch = map(int, place.split())
        staged = self._parts()[2].stage(rows, partition, epoch)
        return Receipt(_rows(staged), manifest.write_files(tuple(staged)))

    # --- after ---

    def positions(self) -> Iterator[pl.DataFrame]:
        journal, _, _ = self._parts()
        yield from Reading(self._files, self._table, journal.load()).frames()

    def sweep(self, epoch: int) -> None:
        """Remove what owners with a lower epoch of their partition staged and never committed."""
        journal, _, staging = self._parts()
        stands = journal.state.progress
        epochs = {p: stands[key, p].epoch for key, p in stands if key == self._key}
        staging.sweep(epochs, journal.state.pending)

    def compact(self, size: int) -> Compacted:
        """Make few large files of many small ones, also while a pipeline writes to the table.

        Args:
            size: Bytes that a file shall have.

        Raises:
            Refused: There is no such table yet.
            Unavailable: The store is away, or somebody else compacts the table.
        """
        self._table.check()
        journal, showing, _ = self._parts()
        if not journal.load().number:
            raise Refused(f"there is no {self._table.words(self._files)} yet; run the pipeline")
        return Compaction(self._files, self._table, journal, showing).run(size)

    def close(self) -> None:
        self.rollback()
        self._files.close()

    # --- inside ---

    def _parts(self) -> tuple[Journal, Showing, Staging]:
        if self._opened is None:
            journal = Journal(self._files, self._table.journal)
            showing = Showing(self._files, self._table.folder, journal)
            self._opened = journal, showing, Staging(self._files, self._table)
        return self._opened

    def _opening(self, state: State) -> Manifest:
        self._table.opening(self._files, state, self._key)
        return replace(self._table.step(self._key), shape=changed(state.shape, self._table.shape))

    def _claimed(self, state: State, epochs: Mapping[int, int]) -> Manifest:
        moved = {}
        for partition, epoch in epochs.items():
            stands = state.progress.get((self._key, partition), Progress(0, epoch))
            if stands.epoch > epoch and faults.enabled("fencing"):
                raise self._fenced(partition)
            moved[self._key, partition] = replace(stands, epoch=epoch)
        return Manifest("claim", "", progress=moved, shown=self._parts()[1].forget())

    def _moved(self, state: State, steps: Mapping[int, Step], files: tuple[File, ...]) -> Manifest:
        for partition, step in steps.items():
            stands = state.progress.get((self._key, partition))
            same = stands and (stands.next, stands.epoch) == (step.before.next, step.before.epoch)
            if not same and faults.enabled("fencing"):
                raise self._fenced(partition)
        moved = {(self._key, p): step.after for p, step in steps.items()}
        return Manifest("commit", "", progress=moved, add=files, shown=self._parts()[1].forget())

    def _fenced(self, partition: int) -> Fenced:
        return Fenced(
            f"{self._key.lane}: another owner holds partition {partition} or has moved on; "
            "nothing was written"
        )

    def _place(self, rows: pl.DataFrame) -> tuple[int, int]:
        """Find a partition that is held, and its epoch: who takes it over sweeps the files."""
        found = sorted(self._epochs.keys() & set(rows["_partition"].unique()))
        partition = next(iter(found or sorted(self._epochs)), None)
        if partition is None:
            raise Refused(f"{self._key.lane}: no partition was claimed")
        return partition, self._epochs[partition]

    def _drop_doubtful(self, state: State) -> None:
        """Remove what a commit of unknown outcome had staged, if it did not come to pass."""
        listed = {file.staged for change in state.pending.values() for file in change.add}
        lost = [file.staged for file in self._doubtful if file.staged not in listed]
        self._doubtful = []
        if lost:
            with suppress(PenstockError):
                self._files.delete(lost)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Leave nothing staged behind, but what may have been committed."""
        try:
            yield
        except Unavailable:
            self._staged = []
            raise
        except BaseException:
            self._doubtful = []
            self.rollback()
            raise


def _rows(files: Sequence[File]) -> dict[int, int]:
    return dict(sum((Counter(file.rows) for file in files), Counter()))
