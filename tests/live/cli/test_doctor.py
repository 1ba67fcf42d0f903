"""`penstock check` as a doctor: each failure is provoked, recognised, and has its cure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.live.project import Project

from penstock.cli import cures, doctor, machine
from penstock.cli.findings import Finding

PROGRAM = """
import penstock as ps

class Order(ps.Contract):
    id: str = ps.key()
    total: int

pipeline = ps.Pipeline("shop")
orders = pipeline.source(ps.Files("orders.ndjson"), Order, land="raw").topic("orders")
orders.sink("orders", store="one")
"""
CLOSED = "127.0.0.1:1"


@pytest.fixture
def ill(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.write(PROGRAM)
    (project.path / "orders.ndjson").write_text('{"id": "a", "total": 1}\n')
    monkeypatch.chdir(project.path)
    return project


def found(system: str, profile: str = "test") -> Finding:
    """What is wrong with a system."""
    findings = doctor.examine(Path("program.py"), profile)
    wrong = [finding for finding in findings if not finding.good]
    assert [finding for finding in wrong if finding.system == system], findings
    return next(finding for finding in wrong if finding.system == system)


def test_home_s_server_does_not_run(ill: Project) -> None:
    ill.url = f"postgresql://{CLOSED}/x"
    ill.settle()
    assert "services up" in found("home").cure


def test_there_is_no_such_host(ill: Project) -> None:
    ill.url = "postgresql://no-such-host.invalid/x"
    ill.settle()
    assert "correct the host" in found("home").cure


def test_there_is_no_such_database(ill: Project) -> None:
    name = urlsplit(ill.url).path
    ill.url = ill.url.replace(name, "/no_such_database", 1)
    ill.settle()
    assert "createdb" in found("home").cure


@pytest.mark.parametrize(
    ("scheme", "system"), [("kafka", "orders@log"), ("cassandra", "orders@one")]
)
def test_a_server_does_not_run(ill: Project, scheme: str, system: str) -> None:
    if scheme == "kafka":
        ill.log = f"kafka://{CLOSED}"
    else:
        ill.stores["one"] = f"cassandra://{CLOSED}/shop"
    ill.settle()
    assert "services up" in found(system).cure


def test_a_registry_does_not_run(ill: Project) -> None:
    ill.registry = f"http://{CLOSED}/apis/ccompat/v7"
    ill.settle()
    assert "services up" in found("registry of orders").cure


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def website() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_registry_s_url_leads_elsewhere(ill: Project, website: str) -> None:
    ill.registry = website
    ill.settle()
    assert "ccompat" in found("registry of orders").cure


def test_the_folder_cannot_be_used(ill: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_DATA", str(ill.path / "orders.ndjson"))
    assert "PENSTOCK_DATA" in found("services", "embedded").cure


def test_a_long_path_is_no_failure(ill: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ill.path / ("long" * 30) / ("path" * 30)
    folder.mkdir(parents=True)
    monkeypatch.setenv("PENSTOCK_DATA", str(folder / ".penstock"))
    findings = doctor.examine(Path("program.py"), "embedded")
    assert all(finding.good for finding in findings), findings


def test_a_change_that_breaks_readers(ill: Project) -> None:
    ill.run()
    ill.write(PROGRAM.replace("total: int", "total: bool"))
    assert "another name" in found("topic orders").cure


def test_a_topic_that_was_made_anew(ill: Project) -> None:
    ill.run()
    ill.rows("DROP TABLE topics.orders CASCADE")
    ill.run(code=1)
    assert "before you accept" in found("topic orders").cure


@pytest.mark.parametrize(
    ("free", "state"), [(machine.NOTHING - 1, "refused"), (machine.LITTLE - 1, "change")]
)
def test_a_disk_that_is_nearly_full(free: int, state: str) -> None:
    [finding] = machine.disk(free)
    assert (finding.system, finding.state) == ("disk", state)
    assert "make room" in finding.cure
    assert not list(machine.disk(machine.LITTLE))


def test_clocks_that_differ() -> None:
    assert machine.skew(100.0, 99.9, 100.1) == ""
    assert machine.skew(103.1, 99.9, 100.1) == "3.0 s ahead of"
    assert machine.skew(90.0, 95.0, 95.1) == "5.0 s behind"
    assert "chrony" in cures.cure("its clock is 5.0 s behind this machine's")


def test_the_cure_is_shown_and_in_the_document(ill: Project) -> None:
    ill.url = f"postgresql://{CLOSED}/x"
    ill.settle()
    shown = ill.penstock("check", "program.py", code=3).stdout.decode()
    assert "→ start the server" in shown
    told = ill.json("check", "program.py", code=3)["findings"]
    assert any("services up" in finding["cure"] for finding in told)


def test_no_cure_hides_another() -> None:
    """Each failure's own words lead to its own cure."""
    for cure in cures.CURES:
        for words in cure.words:
            assert cures.cure(words) == cure.cure, words
