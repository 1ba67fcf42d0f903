"""S3 that is away, silent, or says no: told as what it is, without the secret."""

from __future__ import annotations

import time
from datetime import timedelta
from random import Random

import polars as pl
import pytest
from tests.stack.objects import Objects
from tests.stack.proxy import Proxy

from penstock.errors import Refused, Unavailable
from penstock.filesystems import open_url
from penstock.filesystems import s3 as objects
from penstock.profile import Store
from penstock.sinks.files import FileSink
from penstock.testing.conformance.sink_store import THREE
from penstock.testing.conformance.subjects import KEY, Person, lane, people, rows, steps


def test_a_server_that_refuses_is_away(s3: Objects) -> None:
    bucket = s3.bucket().partition("@")[2].partition("?")[0]
    with Proxy(s3.endpoint) as proxy:
        files = open_url(s3.url(bucket, f"http://127.0.0.1:{proxy.port}"))
        files.write("f", [b"1"])
        proxy.refuse()
        for call in (lambda: files.write("g", [b"2"]), lambda: list(files.list())):
            with pytest.raises(Unavailable) as caught:
                call()
            assert "secret" not in str(caught.value)
        proxy.resume()
        assert files.read("f") == b"1"


def test_a_commit_that_s3_does_not_answer_is_made_once(s3: Objects) -> None:
    """Whether it came to pass before the connection broke or not, the rows are there once."""
    bucket = s3.bucket().partition("@")[2].partition("?")[0]
    with Proxy(s3.endpoint) as proxy:
        url = s3.url(f"{bucket}/lake", f"http://127.0.0.1:{proxy.port}")
        sink = FileSink(Store("lake", url), lane(Person, "append"), KEY)
        sink.open()
        before = sink.claim({0: 1})
        receipt = sink.stage(rows(THREE))
        proxy.refuse()
        with pytest.raises(Unavailable):
            sink.commit([receipt], steps(before, {0: 3}))
        with pytest.raises(Unavailable):
            sink.stage(rows(THREE))
        sink.rollback()
        proxy.resume()
        before = sink.claim({0: 1})
        assert before[0].next == 0
        stands = sink.commit([sink.stage(rows(THREE))], steps(before, {0: 3}))
        assert stands[0].totals.written == 3
        seen = [frame.height for frame in sink.positions()]
        assert sum(seen) == 3
        sink.sweep(1)
        left = [e.name for e in open_url(url).list() if e.name.endswith(".staged")]
        assert left == []
        sink.close()


def test_a_server_that_falls_silent_in_mid_upload(
    s3: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of several parts is cut off by time alone; its rows are there once in the end."""
    text = Random(1).randbytes(7 << 20).hex()
    large = people((1, text, 10), (2, text[::-1], None), (3, text[1:], 30))
    bucket = s3.bucket().partition("@")[2].partition("?")[0]
    with Proxy(s3.endpoint) as proxy:
        url = s3.url(f"{bucket}/lake", f"http://127.0.0.1:{proxy.port}")
        with monkeypatch.context() as short:
            short.setattr(objects, "_ANSWER", timedelta(seconds=4))
            short.setattr(objects, "_HICCUP", timedelta(seconds=2))
            sink = FileSink(Store("lake", url), lane(Person, "append"), KEY)
            sink.open()
            sink.claim({0: 1})
            proxy.silence(after=12 << 20)
            began = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                sink.stage(rows(large))
            assert proxy.is_silent
            assert time.monotonic() - began < 60
            assert "secret" not in str(caught.value)
            sink.rollback()
            sink.close()
        proxy.resume()
        sink = FileSink(Store("lake", url), lane(Person, "append"), KEY)
        sink.open()
        before = sink.claim({0: 2})
        assert before[0].next == 0
        sink.sweep(2)
        stands = sink.commit([sink.stage(rows(large))], steps(before, {0: 3}))
        assert stands[0].totals.written == 3
        seen = pl.concat(list(sink.positions())).sort("id")
        assert seen.select("id", "email", "age").equals(large)
        sink.sweep(3)
        left = [e.name for e in open_url(url).list() if e.name.endswith(".staged")]
        assert left == []
        sink.close()


def test_a_missing_bucket_is_refused(s3: Objects) -> None:
    files = open_url(s3.url("no-such-bucket"))
    for call in (lambda: files.write("g", [b"2"]), lambda: list(files.list())):
        with pytest.raises(Refused, match="create the bucket"):
            call()


def test_no_credentials_are_refused(s3: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(Refused, match="give key and secret"):
        list(open_url("s3://lake").list())
