"""From a repository that breaks, stalls and lies, files come right or not at all."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.live.services import repository as answers
from tests.live.services.repository import Repository, group, serving

from penstock.errors import PenstockError, ProfileError, Refused, Unavailable
from penstock.services.artifacts import cache, classpath, ensure, lock, unpacked
from penstock.services.artifacts.fetch import Fetch, Patience
from penstock.services.artifacts.lock import Artifact, Group
from penstock.services.artifacts.progress import Lines

BIG = bytes(range(256)) * 4096  # 1 MiB
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def repository() -> Iterator[Repository]:
    with serving() as started:
        yield started


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Repository) -> Path:
    """The cache's jars; everything here fetches from the repository."""
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PENSTOCK_MAVEN_MIRROR", repository.url)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return tmp_path / "cache" / "jars"


@pytest.fixture
def engine(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """The only file of the service `mill`."""
    artifact = repository.add("org.example:engine:1.0", BIG)
    locked(monkeypatch, mill=group(artifact))
    return artifact


def locked(monkeypatch: pytest.MonkeyPatch, **groups: Group) -> None:
    monkeypatch.setattr(lock, "read", lambda: groups)


def impatient(folder: Path, repository: Repository) -> Fetch:
    display = Lines(lambda line: None)
    return Fetch(
        repository.url, folder, display, Patience(2, pause=0.01, silence=1.0, slowest=1000)
    )


def part_of(folder: Path, artifact: Artifact) -> Path:
    file = folder / artifact.path
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.with_name(f"{file.name}.part")


def test_what_is_missing_is_fetched_once(
    folder: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    shared = repository.add("org.example:shared:1", b"shared")
    own = [repository.add(f"org.example:part-{n}:1.{n}", b"%d" % n * 9999) for n in range(20)]
    archive = repository.add("org.example:app:3:all@tar.gz", b"archive")
    locked(monkeypatch, mill=group(shared, *own), lade=group(shared, archive))
    display = Lines(said.append)
    ensure(["mill", "lade"], display=display)
    assert repository.asked == sorted(repository.files)
    assert classpath("mill", display=display) == [folder / a.path for a in (shared, *own)]
    assert [file.read_bytes() for file in classpath("lade")] == [b"shared", b"archive"]
    assert len(repository.ranges) == 22, "the second time everything was there"
    assert said == [
        f"fetching 22 files of mill, lade (0.3 MB) from {repository.url}",
        "fetched all 0.3 MB",
    ]
    assert [*folder.rglob("*.part")] == []


def test_what_is_cached_needs_no_network(
    folder: Path, engine: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure(["mill"])
    monkeypatch.setenv("PENSTOCK_MAVEN_MIRROR", "http://127.0.0.1:1")
    assert classpath("mill") == [folder / engine.path]


def test_a_fetch_that_breaks_off_goes_on_where_it_was(
    folder: Path, repository: Repository, engine: Artifact
) -> None:
    repository.answers = [answers.cut_after(300_000)]
    [file] = classpath("mill")
    assert file.read_bytes() == BIG
    assert [asked for _, asked in repository.ranges] == [None, "bytes=300000-"]


def test_what_a_killed_process_left_is_gone_on_with(
    folder: Path, repository: Repository, engine: Artifact
) -> None:
    part_of(folder, engine).write_bytes(BIG[:500_000])
    [file] = classpath("mill")
    assert file.read_bytes() == BIG
    assert [asked for _, asked in repository.ranges] == ["bytes=500000-"]


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * len(BIG), b"x" * (len(BIG) + 1)])
def test_what_is_left_may_be_rubbish(
    folder: Path, repository: Repository, engine: Artifact, left: bytes
) -> None:
    part_of(folder, engine).write_bytes(left)
    [file] = classpath("mill")
    assert file.read_bytes() == BIG


def test_a_server_that_knows_no_ranges_begins_again(
    folder: Path, repository: Repository, engine: Artifact
) -> None:
    repository.answers = [answers.cut_after(300_000), answers.without_ranges]
    [file] = classpath("mill")
    assert file.read_bytes() == BIG


@pytest.mark.parametrize("damaged", [b"\xff" + BIG[1:], BIG[:-1], b""])
def test_a_damaged_file_is_noticed_and_fetched_anew(
    folder: Path, repository: Repository, engine: Artifact, said: list[str], damaged: bytes
) -> None:
    [file] = classpath("mill")
    changed = file.stat()
    file.write_bytes(damaged)
    os.utime(file, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    [file] = classpath("mill", display=Lines(said.append))
    assert file.read_bytes() == BIG
    assert said[0] == f"{file} is damaged; fetching it anew"
    assert len(repository.ranges) == 2


def test_a_server_that_is_overloaded_is_asked_again(
    folder: Path, repository: Repository, engine: Artifact
) -> None:
    repository.answers = [answers.says(503, b"busy", Retry_After="0"), answers.says(429, b"slow")]
    [file] = classpath("mill")
    assert file.read_bytes() == BIG


def test_a_mirror_that_lacks_a_file_is_named(
    folder: Path, repository: Repository, engine: Artifact
) -> None:
    repository.files.clear()
    with pytest.raises(Refused) as refused:
        ensure(["mill"])
    assert f"{repository.url}/{engine.path} does not exist (404)" in str(refused.value)
    assert len(repository.ranges) == 1, "a final answer is not asked for again"


def test_a_mirror_may_want_a_password_and_it_stays_secret(
    folder: Path, repository: Repository, engine: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = repository.url.replace("//", "//me:s3cret@")
    monkeypatch.setenv("PENSTOCK_MAVEN_MIRROR", mirror)
    repository.answers = [answers.says(401)]
    said: list[str] = []
    with pytest.raises(Refused, match="wants a password") as refused:
        ensure(["mill"], display=Lines(said.append))
    assert "s3cret" not in str(refused.value) + "".join(said)


@pytest.mark.parametrize("wrong", [b"<html>Sign in</html>", bytes(len(BIG)), BIG + b"!"])
def test_another_file_than_the_locked_one_is_refused(
    folder: Path, repository: Repository, engine: Artifact, wrong: bytes
) -> None:
    repository.files[engine.path] = wrong
    with pytest.raises(Refused) as refused:
        ensure(["mill"])
    assert engine.path in str(refused.value)
    assert f"expected SHA-256 {engine.sha256} and {engine.size} bytes, found" in str(refused.value)
    assert not (folder / engine.path).exists()
    repository.files[engine.path] = BIG
    assert classpath("mill")[0].read_bytes() == BIG


def test_without_a_network_one_learns_what_to_do(
    folder: Path, engine: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_MAVEN_MIRROR", "http://127.0.0.1:1")
    with pytest.raises(Unavailable) as unavailable:
        ensure(["mill"])
    message = str(unavailable.value)
    assert message.startswith(f"http://127.0.0.1:1/{engine.path} cannot be fetched: ")
    assert "Needed: 1 file of mill (1.0 MB)." in message
    assert "PENSTOCK_MAVEN_MIRROR=URL" in message
    assert f"copy {folder.parent} from" in message


@pytest.mark.parametrize(
    "answer", [answers.stalls_after(0), answers.stalls_after(100), answers.drips]
)
def test_a_server_that_stalls_is_given_up(
    folder: Path, repository: Repository, engine: Artifact, answer: answers.Answer
) -> None:
    repository.answers = [answer] * 2
    with pytest.raises(Unavailable, match="cannot be fetched"):
        impatient(folder, repository).all([engine])
    assert len(repository.ranges) == 2


def test_the_whole_fetch_has_an_end(folder: Path, repository: Repository, engine: Artifact) -> None:
    repository.answers = [answers.drips]
    patience = Patience(slowest=1, whole=3.0)
    with pytest.raises(Unavailable, match="What came is kept"):
        Fetch(repository.url, folder, Lines(lambda line: None), patience).all([engine])
    classpath("mill")
    assert repository.ranges[1][1], "and was gone on with"


def test_a_server_that_stalls_once_costs_a_try(
    folder: Path, repository: Repository, engine: Artifact
) -> None:
    repository.answers = [answers.stalls_after(1000)]
    impatient(folder, repository).all([engine])
    assert (folder / engine.path).read_bytes() == BIG


def test_one_failure_ends_the_whole_fetch(
    folder: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (repository.add(f"org.example:{name}:1", BIG) for name in ("one", "other"))
    locked(monkeypatch, mill=group(one, other))
    repository.answers = [answers.stalls_after(10), answers.says(404)]
    begun = time.monotonic()
    with pytest.raises(Refused, match="404"):
        ensure(["mill"])
    assert time.monotonic() - begun < Patience().silence, "the one that stalls is not waited for"


def test_https_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serving(context) as repository:
        artifact = repository.add("org.example:engine:1", BIG)
        locked(monkeypatch, mill=group(artifact))
        monkeypatch.setenv("PENSTOCK_MAVEN_MIRROR", repository.url)
        with pytest.raises(Unavailable, match="name it in SSL_CERT_FILE"):
            ensure(["mill"])
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert classpath("mill")[0].read_bytes() == BIG


def test_a_proxy_is_used(
    folder: Path, repository: Repository, engine: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_MAVEN_MIRROR", "http://maven.invalid/maven2")
    monkeypatch.setenv("HTTP_PROXY", repository.url.removesuffix("/maven2"))
    assert classpath("mill")[0].read_bytes() == BIG


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "HTTP_PROXY"])
def test_an_environment_that_is_wrong_is_named(
    folder: Path, engine: Artifact, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "gopher://nowhere")
    with pytest.raises(ProfileError, match=variable):
        ensure(["mill"])


# --- several processes ---------------------------------------------------------------------------

PROCESS = """
import sys
from penstock.services.artifacts import classpath, lock
group = lock.Group((), False, tuple(lock.Artifact(*a) for a in {artifacts!r}))
lock.read = lambda: {{"mill": group}}
for file in classpath("mill"):
    sys.stdout.write(file.read_bytes()[:3].decode())
"""


def start(*artifacts: Artifact) -> subprocess.Popen[str]:
    entries = [(a.coordinates, a.size, a.sha256) for a in artifacts]
    command = [sys.executable, "-c", PROCESS.format(artifacts=entries)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def until(condition: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not (condition() if callable(condition) else condition):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)


def test_several_processes_fetch_each_file_once(folder: Path, repository: Repository) -> None:
    files = [repository.add(f"org.example:p{n}:1", b"%03d" % n * 99_999) for n in range(12)]
    processes = [start(*files) for _ in range(3)]
    results = [process.communicate(timeout=60) for process in processes]
    assert [out for out, _ in results] == ["".join(f"{n:03}" for n in range(12))] * 3, results
    assert repository.asked == sorted(repository.files)


def test_who_waits_takes_over_from_who_is_killed(folder: Path, repository: Repository) -> None:
    file = repository.add("org.example:engine:1", b"abc" * 333_333)
    repository.answers = [answers.stalls_after(600_000)]
    first = start(file)
    part = part_of(folder, file)
    until(lambda: part.exists() and part.stat().st_size == 600_000)
    second = start(file)
    assert second.stderr
    assert second.stderr.readline().startswith("fetching 1 file")
    first.kill()
    first.communicate()
    out, problem = second.communicate(timeout=60)
    assert out == "abc", problem
    assert [asked for _, asked in repository.ranges] == [None, "bytes=600000-"]


def test_who_waits_for_a_stopped_process_does_not_wait_for_ever(
    folder: Path, repository: Repository, engine: Artifact
) -> None:
    with part_of(folder, engine).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match=r"another process fetches engine-1\.0\.jar"):
            impatient(folder, repository).all([engine])


def test_an_interrupt_ends_it_at_once(folder: Path, repository: Repository) -> None:
    file = repository.add("org.example:engine:1", b"abc" * 333_333)
    repository.answers = [answers.stalls_after(600_000)]
    process = start(file)
    part = part_of(folder, file)
    until(lambda: part.exists() and part.stat().st_size == 600_000)
    process.send_signal(signal.SIGINT)
    _, problem = process.communicate(timeout=Patience().silence - 5)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in problem


# --- disks ---------------------------------------------------------------------------------------


def test_a_disk_without_room_is_told_before(
    folder: Path, repository: Repository, engine: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = len(BIG) - 1

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(Unavailable, match=r"disk .* is full; make room, or set PENSTOCK_CACHE"):
        ensure(["mill"])
    assert repository.ranges == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_wrong(
    folder: Path, repository: Repository, engine: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if done := subprocess.run(mount, capture_output=True, check=False).stderr:
        pytest.skip(f"a small disk cannot be mounted here: {done.decode()}")
    try:
        monkeypatch.setattr(cache, "_check_room", lambda folder, size: None)
        with pytest.raises(Unavailable, match="is full"):
            ensure(["mill"])
        assert not (folder / engine.path).exists()
        subprocess.run(["mount", "-o", "remount,size=4m", str(folder)], check=True)
        assert classpath("mill")[0].read_bytes() == BIG
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_cache_that_is_no_folder_is_named(folder: Path, engine: Artifact) -> None:
    folder.parent.write_text("a file")
    with pytest.raises(Refused, match="set PENSTOCK_CACHE to a folder elsewhere") as refused:
        ensure(["mill"])
    assert str(folder.parent) in str(refused.value)


def test_a_service_without_files_is_refused() -> None:
    with pytest.raises(PenstockError, match="no files for 'sawmill'; there are some for kafka"):
        ensure(["sawmill"])


# --- archives ------------------------------------------------------------------------------------


def test_an_archive_is_unpacked_once(
    folder: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    artifact = repository.add("org.example:app:1@tar.gz", archive(**{"lib/a.jar": b"a", "b": b"b"}))
    locked(monkeypatch, app=group(artifact))
    place = unpacked("app")
    assert (place / "lib" / "a.jar").read_bytes() == b"a"
    made = (place / "b").stat()
    repository.files.clear()
    assert unpacked("app") == place
    assert (place / "b").stat() == made
    (place / "lib" / "a.jar").write_bytes(b"x")
    assert unpacked("app", display=Lines(said.append)) == place
    assert (place / "lib" / "a.jar").read_bytes() == b"a"
    assert said == [f"{place} is damaged; unpacking it anew"]


def archive(**members: bytes) -> bytes:
    opened = io.BytesIO()
    with tarfile.open(fileobj=opened, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return opened.getvalue()
