"""deploy/kubernetes: right by the schemas, without root, and with all that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from penstock.profile.file import load

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(file for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml")
OLDEST, NEWEST = "1.29", "1.37"


def resources() -> list[dict[str, Any]]:
    return [found for file in FILES for found in yaml.safe_load_all(file.read_text()) if found]


def named(kind: str, name: str) -> dict[str, Any]:
    [found] = [r for r in resources() if (r["kind"], r["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> dict[str, dict[str, Any]]:
    job = named("CronJob", "ingest")["spec"]["jobTemplate"]["spec"]["template"]
    return {"run": named("Deployment", "penstock")["spec"]["template"], "ingest": job}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_schemas_hold(file: Path, version: str) -> None:
    for found in yaml.safe_load_all(file.read_text()):
        kubernetes_validate.validate(found, version, strict=True)


def test_the_schemas_can_fail() -> None:
    wrong = named("Deployment", "penstock")
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 90
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_the_kustomization_takes_all_but_the_secret() -> None:
    taken = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert sorted(taken) == [file.name for file in FILES if file.name != "secret.example.yaml"]


def test_everything_is_in_one_namespace_that_refuses_root() -> None:
    space = named("Namespace", "penstock")
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    rest = [found for found in resources() if found["kind"] != "Namespace"]
    assert {found["metadata"]["namespace"] for found in rest} == {"penstock"}


@pytest.mark.parametrize("name", ["run", "ingest"])
def test_a_pod_has_no_rights_and_limits(name: str) -> None:
    spec = pods()[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001  # as in deploy/Dockerfile
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["terminationGracePeriodSeconds"] >= 60
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]["memory"]
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert container["image"] == f"penstock:{version[1]}"
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/data", "/tmp"}


@pytest.mark.parametrize("name", ["run", "ingest"])
def test_what_a_pod_names_is_there(name: str) -> None:
    pod = pods()[name]
    named("ServiceAccount", pod["spec"]["serviceAccountName"])
    [container] = pod["spec"]["containers"]
    for found in container["envFrom"]:
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if key in found:
                named(kind, found[key]["name"])
    for volume in pod["spec"]["volumes"]:
        if "configMap" in volume:
            named("ConfigMap", volume["configMap"]["name"])
    selected = named("NetworkPolicy", "penstock")["spec"]["podSelector"]["matchLabels"]
    assert selected.items() <= pod["metadata"]["labels"].items()


def test_the_program_is_that_of_the_example_and_the_profile_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = named("ConfigMap", "penstock-project")["data"]
    assert project["users.py"] == (ROOT / "examples" / "users" / "users.py").read_text()
    (tmp_path / "penstock.toml").write_text(project["penstock.toml"])
    places = named("ConfigMap", "penstock-places")["data"]
    assert not {*places} & {"POSTGRES_USER", "POSTGRES_PASSWORD"}
    secret = named("Secret", "penstock")["stringData"]
    assert set(secret.values()) == {""}
    for name, value in {**places, **dict.fromkeys(secret, "secret")}.items():
        monkeypatch.setenv(name, value)
    loaded = load(tmp_path / "penstock.toml", places["PENSTOCK_PROFILE"])
    assert loaded.home == "postgresql://secret:secret@postgresql/penstock"


def test_a_run_lands_under_the_id_of_its_job() -> None:
    [container] = pods()["ingest"]["spec"]["containers"]
    assert container["args"] == ["ingest", "users.py", "--run-id", "$(RUN_ID)"]
    [variable] = container["env"]
    label = "metadata.labels['batch.kubernetes.io/job-name']"
    assert variable["name"] == "RUN_ID"
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": label}}
    assert named("CronJob", "ingest")["spec"]["concurrencyPolicy"] == "Forbid"
