"""Files that are written whole: Parquet, compressed files, and what URLs and patterns mean."""

from __future__ import annotations

import gzip
import json
import math
import os
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sources.doubles import StepClock

import penstock as ps
from penstock.contract import decode, spec
from penstock.errors import Refused, Unavailable
from penstock.interfaces import Framing, Response
from penstock.sources import parquet, places, whole
from penstock.sources.files import Files


class Reader:
    """Polls as the engine does; keeps what was landed."""

    def __init__(
        self, path: str | Path, format: str = "parquet", every: float | None = None
    ) -> None:
        self.source = Files(path, format=format, every=every)
        self.cursor: Any = None
        self.landed: list[Response] = []
        self.clock = StepClock()
        self.clock.time = datetime.now(UTC)

    def poll(self, most: int = 10_000) -> list[Response]:
        fresh: list[Response] = []
        for response in self.source.poll(self.cursor, self.clock):
            if len(fresh) == most:
                break
            fresh.append(response)
            self.landed.append(response)
            self.cursor = json.loads(json.dumps(response.cursor))
        return fresh


def rows(responses: list[Response]) -> list[Any]:
    return [json.loads(line) for r in responses if not r.cut_off for line in r.body.splitlines()]


def numbers(path: Path, count: int, group: int = 1000) -> list[dict[str, int]]:
    table = pa.table({"n": range(count)})
    pq.write_table(table, path, row_group_size=group)
    return [{"n": n} for n in range(count)]


# --- Parquet -------------------------------------------------------------------------------------


def test_parquet_is_landed_by_rows_with_where_they_lay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_ROWS", 400)
    given_rows = numbers(tmp_path / "a.parquet", 2500)
    reader = Reader(tmp_path / "*.parquet")
    assert rows(reader.poll()) == given_rows
    facts = [(r.headers["row-group"], r.headers["row"]) for r in reader.landed]
    assert facts[:4] == [("0", "0"), ("0", "400"), ("0", "800"), ("1", "1000")]
    assert reader.landed[0].headers["made-from"] == "parquet"
    assert reader.poll() == []


def test_parquet_goes_on_after_every_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROWS", 300)
    given_rows = numbers(tmp_path / "a.parquet", 2500)
    reader = Reader(tmp_path)
    while reader.poll(most=1):
        pass
    assert rows(reader.landed) == given_rows


def test_a_truncated_file_is_one_dead_letter_and_harms_no_other(tmp_path: Path) -> None:
    given_rows = numbers(tmp_path / "b.parquet", 10)
    data = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[:-20])
    (tmp_path / "c.parquet").write_bytes(b"PAR1 nonsense")
    reader = Reader(tmp_path)
    first, second, third = reader.poll()
    reason = "Parquet magic bytes not found in footer"
    assert str(first.cut_off).startswith(f"file://{tmp_path}/a.parquet: {reason}")
    assert first.body == data[:-20]
    assert rows([second]) == given_rows
    assert str(third.cut_off).startswith(f"file://{tmp_path}/c.parquet: {reason}")
    assert reader.poll() == []


def test_a_file_that_is_written_just_now_is_waited_for(tmp_path: Path) -> None:
    given_rows = numbers(tmp_path / "b.parquet", 10)
    data = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[:-20])
    reader = Reader(tmp_path, every=1)
    with pytest.raises(Unavailable, match=r"a\.parquet cannot be read yet"):
        reader.poll()
    assert rows(reader.landed) == given_rows, "the others are read"
    (tmp_path / "a.parquet").write_bytes(data)
    assert rows(reader.poll()) == given_rows
    (tmp_path / "c.parquet").write_bytes(data[:-20])
    with pytest.raises(Unavailable):
        reader.poll()
    reader.clock.wait(120)
    (letter,) = reader.poll()
    assert letter.cut_off


def test_damage_in_the_middle_keeps_what_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_ROWS", 1000)
    file = tmp_path / "a.parquet"
    table = pa.table({"n": range(3000)})
    pq.write_table(table, file, row_group_size=1000, write_page_checksum=True, use_dictionary=False)
    data = bytearray(file.read_bytes())
    column = pq.read_metadata(file).row_group(1).column(0)
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    file.write_bytes(data)
    reader = Reader(file)
    landed = reader.poll()
    assert rows(landed) == [{"n": n} for n in range(1000)]
    assert [bool(r.cut_off) for r in landed] == [False, True]
    assert str(landed[1].cut_off).startswith(f"file://{file}: ")


def test_a_file_that_is_replaced_while_it_is_read_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_ROWS", 100)
    file = tmp_path / "a.parquet"
    numbers(file, 500)
    reader = Reader(file)
    responses = reader.source.poll(None, reader.clock)
    first = next(iter(responses))
    pq.write_table(pa.table({"n": [7] * 300}), tmp_path / "new")
    (tmp_path / "new").replace(file)
    with pytest.raises(Unavailable, match="was changed while it was read"):
        list(responses)
    reader.cursor = first.cursor
    landed = reader.poll()
    assert rows(landed) == [{"n": 7}] * 300
    assert landed[0].headers["note"] == "was replaced; read from its beginning"


NANO = pa.timestamp("ns", "UTC")
LOSSLESS: dict[str, tuple[pa.Array, list[Any]]] = {
    "ints": (pa.array([1, None, 2**64 - 1], pa.uint64()), [1, None, 2**64 - 1]),
    "floats": (pa.array([1.5, math.nan, math.inf, None]), [1.5, "nan", "inf", None]),
    "float32": (pa.array([0.1], pa.float32()), [0.10000000149011612]),
    "decimals": (pa.array([Decimal("1.50"), None]), [1.5, None]),
    "strings": (pa.array(["é\n", "", None]), ["é\n", "", None]),
    "dictionary": (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    "bytes": (pa.array([b"\xff"]), ["/w=="]),
    "dates": (pa.array([date(2026, 1, 2)]), ["2026-01-02"]),
    "utc": (
        pa.array([datetime(2026, 1, 2, tzinfo=UTC)], pa.timestamp("us", "Europe/Vienna")),
        ["2026-01-02T00:00:00Z"],
    ),
    "no zone": (pa.array([datetime(2026, 1, 2)]), ["2026-01-02T00:00:00"]),  # noqa: DTZ001
    "nanoseconds": (pa.array([1], NANO), ["1970-01-01T00:00:00.000000001Z"]),
    "whole nanoseconds": (pa.array([1000], NANO), ["1970-01-01T00:00:00.000001Z"]),
    "far": (pa.array([2**62], pa.timestamp("s", "UTC")), None),  # type: ignore[dict-item]
    "time": (pa.array([time(1, 2, 3)]), ["01:02:03.000000"]),
    "struct": (
        pa.array(
            [{"a": 1, "b": [math.nan]}, None],
            pa.struct({"a": pa.int8(), "b": pa.list_(pa.float64())}),
        ),
        [{"a": 1, "b": ["nan"]}, None],
    ),
    "lists": (pa.array([[1], None, [], [2, None]]), [[1], None, [], [2, None]]),
    "map": (
        pa.array([[("k", math.inf)], None], pa.map_(pa.string(), pa.float64())),
        [[{"key": "k", "value": "inf"}], None],
    ),
    "map of nanoseconds": (
        pa.array([[("k", 1)], None, [], [("l", None)]], pa.map_(pa.string(), NANO)),
        [
            [{"key": "k", "value": "1970-01-01T00:00:00.000000001Z"}],
            None,
            [],
            [{"key": "l", "value": None}],
        ],
    ),
    "null": (pa.nulls(1), [None]),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_values_are_written_without_loss(name: str) -> None:
    column, expected = LOSSLESS[name]
    padded = pa.concat_arrays([column, column]).slice(len(column))
    for given_column in (column, padded):
        lines = parquet.documents(pa.RecordBatch.from_arrays([given_column], ["v"])).splitlines()
        found = [json.loads(line)["v"] for line in lines]
        assert found == (expected if expected is not None else found)
        assert len(found) == len(column)


def test_decimals_keep_their_digits() -> None:
    column = pa.array([Decimal("12345678901234567890.10")])
    line = parquet.documents(pa.RecordBatch.from_arrays([column], ["v"]))
    assert line == b'{"v":12345678901234567890.10}\n'


class Typed(ps.Contract):
    i: int
    f: float
    s: str
    at: datetime


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("i", pa.array([7.0])),
        ("i", pa.array(["7"])),
        ("i", pa.array([2**63], pa.uint64())),
        ("f", pa.array([math.nan])),
        ("s", pa.array([7])),
        ("at", pa.array([datetime(2026, 1, 2)])),  # noqa: DTZ001
        ("at", pa.array([1], NANO)),
        ("at", pa.array([date(2026, 1, 2)])),
        ("s", pa.array([None], pa.string())),
    ],
)
def test_a_column_of_another_type_is_dead_letters(column: str, values: pa.Array) -> None:
    good = {
        "i": pa.array([7]),
        "f": pa.array([7.0]),
        "s": pa.array(["7"]),
        "at": pa.array([datetime(2026, 1, 2, tzinfo=UTC)]),
    }
    for changed, dead in (({}, 0), ({column: values}, 1)):
        batch = pa.RecordBatch.from_pydict({**good, **changed})
        body = pl.Series([parquet.documents(batch)], dtype=pl.Binary)
        found = decode(spec(Typed), body, Framing(lines=True))
        assert len(found.failures) == dead
        assert found.rows.height == 1 - dead


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "two columns of the name 'a'"),
        (pa.table({"a": pa.array([timedelta(1)])}), "column 'a' of the type duration[us]"),
        (
            pa.table({"a": pa.array([b"secret\xff"]).view(pa.string())}),
            "column 'a' of the type string",
        ),
    ],
)
def test_what_json_cannot_say_is_a_dead_letter_with_the_reason(
    tmp_path: Path, table: pa.Table, reason: str
) -> None:
    pq.write_table(table, tmp_path / "a.parquet")
    (response,) = Reader(tmp_path).poll()
    assert response.cut_off
    assert reason in str(response.cut_off)
    assert not any(part in str(response.cut_off) for part in ("secret", "0xff"))


# --- compressed ----------------------------------------------------------------------------------


def packed(name: str, content: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(content)
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst"])
def test_compressed_files(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BLOCK", 50)
    content = b"id,b\n" + b"".join(b'%d,"x\ny"\n' % n for n in range(300))
    (tmp_path / name).write_bytes(packed(name, content))
    reader = Reader(tmp_path / f"*{Path(name).suffix}", "csv")
    while reader.poll(most=1):
        pass
    assert len(reader.landed) > 20
    bodies = [r.body for r in reader.landed]
    assert bodies[0] + b"".join(body.removeprefix(b"id,b\n") for body in bodies[1:]) == content


@pytest.mark.parametrize("name", ["a.gz", "a.zst"])
def test_a_truncated_compressed_file_gives_what_is_whole(tmp_path: Path, name: str) -> None:
    content = os.urandom(400_000).hex().encode()
    lines = b"\n".join(content[n : n + 99] for n in range(0, len(content), 99)) + b"\n"
    (tmp_path / name).write_bytes(packed(name, lines)[:-1000])
    reader = Reader(tmp_path / name, "ndjson")
    *good, last = reader.poll()
    assert str(last.cut_off).startswith(f"file://{tmp_path / name}: Truncated compressed stream")
    assert lines.startswith(b"".join(r.body for r in good) + last.body)
    assert all(r.body.endswith(b"\n") for r in good)
    assert reader.poll() == []


def test_of_a_long_path_the_end_is_told(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    (folder / "a.ndjson.gz").write_bytes(b"no gzip")
    (letter,) = Reader(folder / "a.ndjson.gz", "ndjson").poll()
    words = str(letter.cut_off)
    assert len(words) <= 200
    assert words.startswith("…x")
    assert "x/a.ndjson.gz: zlib inflate failed" in words


@pytest.mark.parametrize("tail", [b"3\n4\n", b"3\n" * 50])
def test_a_compressed_file_that_was_appended_to_goes_on(tmp_path: Path, tail: bytes) -> None:
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(b"1\n2\n"))
    reader = Reader(file, "ndjson", every=1)
    assert [r.body for r in reader.poll()] == [b"1\n2\n"]
    file.write_bytes(gzip.compress(b"1\n2\n") + gzip.compress(tail))
    assert b"".join(r.body for r in reader.poll()) == tail
    file.write_bytes(gzip.compress(b"1\n5\n"))
    (replaced,) = reader.poll()
    assert replaced.body == b"1\n5\n"
    assert "was replaced" in replaced.headers["note"]


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40), st.integers(0, 4))
def test_any_bytes_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, block: int, most: int
) -> None:
    file = tmp_path_factory.mktemp("f") / "a.ndjson"
    file.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole, "BLOCK", block)
        patch.setattr(whole, "_READ", 2 * block)
        reader = Reader(f"file://{file}", "ndjson")
        while reader.poll(most=most + 1):
            pass
    assert b"".join(r.body for r in reader.landed) == content
    assert all(r.body.endswith(b"\n") for r in reader.landed[:-1])


# --- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url", "wanted"),
    [
        ("/a/b.parquet", "file:///a", "b.parquet"),
        ("/a/*/b?.gz", "file:///a", "*/b?.gz"),
        ("/a b/*.gz", "file:///a%20b", "*.gz"),
        ("s3://k:s@bucket/in/*.csv?region=x", "s3://k:s@bucket/in?region=x", "*.csv"),
        ("s3://bucket/in/2026", "s3://bucket/in", "2026"),
        ("s3://bucket/*.csv", "s3://bucket/", "*.csv"),
        ("s3://bucket", "s3://bucket", ""),
        ("s3://bucket/", "s3://bucket/", ""),
        ("hdfs://h:1/a/**/*.gz", "hdfs://h:1/a", "**/*.gz"),
        ("hdfs://h:1/a", "hdfs://h:1/", "a"),
        ("file:///a/b/", "file:///a", "b"),
    ],
)
def test_places(text: str, url: str, wanted: str) -> None:
    found = places.place(text)
    assert (found.url, found.wanted) == (url, wanted)


@pytest.mark.parametrize(
    ("wild", "names"),
    [
        ("*.csv", ["a.csv"]),
        ("**/*.csv", ["a.csv", "x/b.csv", "x/y/c.csv"]),
        ("x/*", ["x/b.csv"]),
        ("?.csv", ["a.csv"]),
        ("[!b].csv", ["a.csv"]),
        (".*", [".h.csv"]),
        ("x/[ab].csv", ["x/b.csv"]),
        ("(*", ["(1)+"]),
    ],
)
def test_patterns(tmp_path: Path, wild: str, names: list[str]) -> None:
    for name in ("a.csv", "x/b.csv", "x/y/c.csv", ".h.csv", "_t/d.csv", "x/.p/e.csv", "(1)+"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1\n")
    found = places.place(f"{tmp_path}/{wild}")
    below = [f"{found.url}/{entry.name}" for entry in found.entries(found.open())]
    assert below == [f"file://{tmp_path}/{name}" for name in names]


def test_a_folder_a_file_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "in" / "_temporary").mkdir(parents=True)
    (tmp_path / "in" / "_temporary" / "x").write_bytes(b"no\n")
    reader = Reader(f"file://{tmp_path}/in", "ndjson")
    assert reader.poll() == []
    (tmp_path / "in" / "a").write_bytes(b"1\n")
    assert [r.body for r in reader.poll()] == [b"1\n"]
    assert [r.body for r in Reader(f"file://{tmp_path}/in/a", "ndjson").poll()] == [b"1\n"]
    for missing in ("in/b", "no/*.csv"):
        with pytest.raises(Unavailable):
            Reader(f"file://{tmp_path}/{missing}", "ndjson").poll()


def test_cursors_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\n")
    growing, settled = Files(tmp_path), Files(f"file://{tmp_path}")
    for one, other in ((growing, settled), (settled, growing)):
        (response,) = one.poll(None, StepClock())
        with pytest.raises(Refused, match="another kind of source"):
            list(other.poll(response.cursor, StepClock()))


def test_secrets_are_not_shown() -> None:
    assert "s3cret" not in Files("s3://key:s3cret@bucket/x").describe()
