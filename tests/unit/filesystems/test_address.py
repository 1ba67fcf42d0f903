"""URLs of files."""

from __future__ import annotations

import pytest

from penstock.errors import ProfileError
from penstock.filesystems import address, open_url


def test_a_folder() -> None:
    found = address.read("file:///data/a%20lake")
    assert (found.scheme, found.path) == ("file", "/data/a lake")


def test_a_bucket_with_everything() -> None:
    url = "s3://key:sec%2Fret@lake/some/prefix/?region=eu-central-1&endpoint=http://127.0.0.1:9000"
    found = address.read(url)
    assert (found.host, found.path, found.user) == ("lake", "some/prefix", "key")
    assert found.password == "sec/ret"
    assert found.options["region"] == "eu-central-1"
    assert "sec" not in found.url
    assert "sec" not in repr(found)


@pytest.mark.parametrize(
    ("endpoint", "plain"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://localhost:9000", True),
        ("https://127.0.0.1:9000", False),
        ("http://minio:9000&allow_http=true", True),
    ],
)
def test_tls_is_left_out_on_this_machine_or_when_asked(endpoint: str, plain: bool) -> None:
    assert address.plain_http(address.read(f"s3://lake?endpoint={endpoint}")) is plain


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/x", "is no URL of files"),
        ("file://host/x", "names no folder of this machine"),
        ("file:relative", "names no folder of this machine"),
        ("file:///a/../b", "write the whole path"),
        ("file:///a?region=x", "there is no option 'region'"),
        ("s3:///prefix", "is no bucket"),
        ("s3://key@lake", "needs key and secret together"),
        ("s3://lake?endpoint=http://minio:9000", "allow_http=true"),
        ("s3://lake?endpoint=127.0.0.1:9000", "endpoint is a URL of https or http"),
        ("s3://lake?allow_http=yes", "is true or false"),
        ("s3://lake?region=a&region=b", "given twice"),
        ("hdfs://host/x", "does not say where HDFS is"),
        ("hdfs://host:99999999/x", "is no URL"),
        ("hdfs://me@host:8020/x", "HADOOP_USER_NAME"),
        ("hdfs://host:8020/x?replication=none", "a positive number"),
    ],
)
def test_a_wrong_url_is_refused(url: str, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        open_url(url)


def test_a_secret_is_in_no_message() -> None:
    with pytest.raises(ProfileError) as caught:
        open_url("s3://key:hushhush@lake?session_token=hushhush&nonsense=1")
    assert "hushhush" not in str(caught.value)
