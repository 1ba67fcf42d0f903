"""`Files` on a real HDFS: read once, appended to, replaced."""

from __future__ import annotations

import json
import uuid

import pytest

from penstock.filesystems import open_url
from penstock.sources import whole
from penstock.sources.files import Files
from penstock.testing import ManualClock


def test_files_of_hdfs_are_read_once(hdfs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "_READ", 300_000)
    root = f"{hdfs}/files-{uuid.uuid4().hex[:12]}"
    files = open_url(root)
    content = b"id,word\n" + b"".join(b'%d,"a\nb"\n' % n for n in range(60_000))
    files.write("in/a.csv", [content])
    files.write("in/deep/b.csv", [b"word,id\nx,7\n"])
    files.write("in/_hidden/c.csv", [b"no\n"])
    source = Files(f"{root}/in/**/*.csv", format="csv", every=1)
    cursor = None

    def poll() -> list[bytes]:
        nonlocal cursor
        fresh = []
        for response in source.poll(cursor, ManualClock()):
            fresh.append(response.body)
            cursor = json.loads(json.dumps(response.cursor))
        return fresh

    landed = poll()
    assert landed[-1] == b"word,id\nx,7\n"
    assert landed[0] + b"".join(b.removeprefix(b"id,word\n") for b in landed[1:-1]) == content
    assert poll() == []
    files.write("in/a.csv", [content + b"60000,c\n"])
    assert poll() == [b"id,word\n60000,c\n"]
    files.write("in/a.csv", [b"id,word\n1,new\n"])
    assert poll() == [b"id,word\n1,new\n"]
    files.close()
