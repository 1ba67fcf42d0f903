"""The file sink: Parquet or NDJSON on disk, in S3 or in HDFS, exactly once."""

from penstock.sinks.files.sink import FileSink

__all__ = ["FileSink"]
