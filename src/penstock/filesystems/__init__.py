"""Folders of files behind one interface: on disk, in S3, in HDFS."""

from penstock.filesystems.filesystem import Entry, FileSystem
from penstock.filesystems.opening import SCHEMES, open_url, verify_url

__all__ = ["SCHEMES", "Entry", "FileSystem", "open_url", "verify_url"]
