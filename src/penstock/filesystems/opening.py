"""Which file system a URL means."""

from __future__ import annotations

from importlib.util import find_spec

from penstock.errors import ProfileError
from penstock.filesystems import address
from penstock.filesystems.filesystem import FileSystem

SCHEMES = tuple(f"{scheme}:" for scheme in address.FORMS)
"""How the URLs of files begin."""

_NEEDS = {"s3": "obstore", "hdfs": "hdfs_native"}


def verify_url(url: str) -> str:
    """Read a URL without opening anything; returns it for messages, redacted.

    Raises:
        ProfileError: It is no URL of files, or the library for it is not installed.
    """
    found = address.read(url)
    needed = _NEEDS.get(found.scheme)
    if needed and find_spec(needed) is None:
        extra = f"pip install 'penstock[{found.scheme}]'"
        raise ProfileError(f"{found.url}: files in {found.scheme} need a library: {extra}")
    return found.url


def open_url(url: str) -> FileSystem:
    """Open the file system below a URL; nothing is dialled yet.

    Args:
        url: `file:///folder`, `s3://bucket/prefix` or `hdfs://host:port/folder`.

    Raises:
        ProfileError: As `verify_url` does.

    Example:
        >>> files = open_url("file:///tmp")
        >>> files.write("a/b.txt", [b"hello"])
        >>> files.read("a/b.txt", 1, 3)
        b'ell'
    """
    verify_url(url)
    found = address.read(url)
    if found.scheme == "s3":
        from penstock.filesystems.s3 import S3Files

        return S3Files(found)
    if found.scheme == "hdfs":
        from penstock.filesystems.hdfs import HdfsFiles

        return HdfsFiles(found)
    from penstock.filesystems.local import LocalFiles

    return LocalFiles(found)
