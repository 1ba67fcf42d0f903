"""The file sink keeps what sinks promise: on disk, in S3, in HDFS; Parquet and NDJSON."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from penstock.plan import Lane
from penstock.profile import Store
from penstock.records import LaneKey
from penstock.sinks.files import FileSink
from penstock.testing.conformance import (
    ApartSinkConformance,
    SinkConformance,
    SinkStore,
)


class FileStore(SinkStore):
    mode = "append"

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        self._url = url
        self._settings = settings
        self._sinks: list[FileSink] = []

    def sink(self, lane: Lane, key: LaneKey) -> FileSink:
        store = Store("lake", self._url, {lane.table: self._settings})
        self._sinks.append(FileSink(store, lane, key))
        return self._sinks[-1]

    def close(self) -> None:
        for made in self._sinks:
            made.close()


class TestParquetOnDisk(SinkConformance, ApartSinkConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SinkStore]:
        made = FileStore((tmp_path / "lake").as_uri(), {})
        yield made
        made.close()


class TestNdjsonOnDisk(SinkConformance):
    @pytest.fixture(params=["none", "gzip", "zstd"])
    def store(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SinkStore]:
        settings = {"format": "ndjson", "compression": request.param}
        made = FileStore((tmp_path / "lake").as_uri(), settings)
        yield made
        made.close()


class TestPartitionedOnDisk(SinkConformance, ApartSinkConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SinkStore]:
        made = FileStore((tmp_path / "lake").as_uri(), {"partition_by": ["id", "date(_born)"]})
        yield made
        made.close()


class TestParquetInS3(SinkConformance, ApartSinkConformance):
    @pytest.fixture
    def store(self, s3_bucket: str) -> Iterator[SinkStore]:
        made = FileStore(s3_bucket.replace("?", "/lake?"), {})
        yield made
        made.close()


class TestParquetInHdfs(SinkConformance):
    @pytest.fixture
    def store(self, hdfs: str) -> Iterator[SinkStore]:
        made = FileStore(f"{hdfs}/sink-{uuid.uuid4().hex[:12]}", {})
        yield made
        made.close()
