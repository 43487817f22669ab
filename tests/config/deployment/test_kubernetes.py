"""The files for Kubernetes, as far as a machine without a cluster can tell.

They run what compose runs, which other tests try, and each object is one that Kubernetes' own schemas allow.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from config.environment import Environment
from config.serving import liveness
from tests.config.deployment.compose import OURS, arguments, documented_variables
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
SCHEMAS: dict[str, Any] = json.loads((Path(__file__).parent / "kubernetes_1_33.json").read_text(encoding="utf-8"))
KUBECTL = shutil.which("kubectl")
GPU = "worker-gpu"
SECRETS = {"DATABASE_URL", "REDIS_URL", "HONE_SECRET_KEY", "HONE_METRICS_TOKEN"}

Object = dict[str, Any]


def kustomization(folder: str) -> Object:
    found: Object = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text(encoding="utf-8"))
    return found


def objects_of(folder: str) -> Iterator[Object]:
    for name in kustomization(folder)["resources"]:
        if name.endswith(".yaml"):
            yield from yaml.safe_load_all((FOLDER / folder / name).read_text(encoding="utf-8"))


OBJECTS = [*objects_of("base"), *objects_of("gpu")]
PROGRAMS = {found["metadata"]["name"]: found for found in OBJECTS if found["kind"] in ("Deployment", "Job")}


def pod(name: str) -> Object:
    found: Object = PROGRAMS[name]["spec"]["template"]["spec"]
    return found


def main_container(name: str) -> Object:
    (found,) = pod(name)["containers"]
    assert found["name"] == name
    return dict(found)


def containers(name: str) -> list[Object]:
    return [*pod(name).get("initContainers", []), *pod(name)["containers"]]


def literals(folder: str) -> dict[str, str]:
    (generator,) = kustomization(folder)["configMapGenerator"]
    assert generator["name"] == "hone"
    return dict(line.split("=", 1) for line in generator["literals"])


@cache
def validator(kind: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"$ref": f"#/$defs/{SCHEMAS['kinds'][kind]}", "$defs": SCHEMAS["$defs"]})


def faults(found: Object) -> list[str]:
    name = f"{found['kind']}/{found['metadata']['name']}"
    return [f"{name} {error.instance_path}: {error.message}" for error in validator(found["kind"]).iter_errors(found)]


every_program = pytest.mark.parametrize("name", PROGRAMS)


def test_every_file_is_among_the_resources() -> None:
    for folder in ("base", "gpu", "s3"):
        files = {path.name for path in (FOLDER / folder).iterdir()} - {"kustomization.yaml"}
        read = [
            *kustomization(folder)["resources"],
            *(patch["path"] for patch in kustomization(folder).get("patches", [])),
        ]
        assert {name for name in read if name.endswith(".yaml")} == files


def test_kubernetes_schemas_allow_every_object() -> None:
    assert [fault for found in OBJECTS for fault in faults(found)] == []


def test_the_schemas_refuse_a_name_that_is_misspelt() -> None:
    broken = json.loads(json.dumps(PROGRAMS["web"]))
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    assert len(faults(broken)) == 1


def test_there_is_one_for_each_of_compose_and_gpus() -> None:
    assert set(PROGRAMS) == {*OURS, GPU}


@pytest.mark.parametrize("name", OURS)
def test_it_runs_what_compose_runs(name: str) -> None:
    found = main_container(name)
    assert (found["image"], found["command"]) == (OURS[name]["image"], ["python", *arguments(name)])
    if "stop_grace_period" in OURS[name]:
        assert OURS[name]["stop_grace_period"] == f"{pod(name)['terminationGracePeriodSeconds']}s"


def test_a_worker_of_a_gpu_is_one_of_processors_with_another_queue() -> None:
    found = main_container(GPU)
    words = [{"cpu": "gpu", "cpu@%h": "gpu@%h"}.get(word, word) for word in arguments("worker-cpu")]
    assert (found["image"], found["command"]) == ("hone-worker", ["python", *words])
    assert found["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert literals("gpu")["HONE_GPUS"] == str(PROGRAMS[GPU]["spec"]["replicas"])


def test_variables_are_composes_and_read_by_the_settings() -> None:
    given = set(literals("base")) | SECRETS
    assert set(OURS["web"]["environment"]) <= given <= documented_variables()
    read = Environment(literals("base"))
    assert "localhost" in read.names("HONE_ALLOWED_HOSTS")  # of which probes ask
    assert read.flag("HONE_HTTPS", default=False)
    assert read.whole_number("HONE_PROXIES", default=0, minimum=0, maximum=8) == 1
    (rule,) = next(found for found in OBJECTS if found["kind"] == "Ingress")["spec"]["rules"]
    assert rule["host"] in read.names("HONE_ALLOWED_HOSTS")
    assert read.origins("HONE_TRUSTED_ORIGINS") == [f"https://{rule['host']}"]


@every_program
def test_every_container_has_the_settings_the_data_and_limits(name: str) -> None:
    for found in containers(name):
        assert found["envFrom"] == [{"configMapRef": {"name": "hone"}}, {"secretRef": {"name": "hone"}}]
        assert {entry["name"] for entry in found.get("env", [])} <= {liveness.VARIABLE}
        mounts = {mount["name"]: mount["mountPath"] for mount in found["volumeMounts"]}
        assert mounts["data"] == "/data"
        assert set(mounts) <= {volume["name"] for volume in pod(name)["volumes"]}
        assert {"cpu", "memory"} <= set(found["resources"]["requests"])
        assert "memory" in found["resources"]["limits"]


@every_program
def test_every_container_runs_without_rights(name: str) -> None:
    whole = pod(name)["securityContext"]
    assert (whole["runAsNonRoot"], whole["runAsUser"]) == (True, 1000)
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(name)["automountServiceAccountToken"] is False
    for found in containers(name):
        assert found["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@every_program
def test_services_of_the_namespace_set_no_variables(name: str) -> None:
    """HONE_PORT=tcp://10.0.0.1:80, of a service called hone, would stop every process at its start."""
    assert pod(name)["enableServiceLinks"] is False


@every_program
def test_programs_that_stay_are_probed_and_wait_for_the_migrations(name: str) -> None:
    if PROGRAMS[name]["kind"] == "Job":
        return
    found = main_container(name)
    waits, *others = pod(name)["initContainers"]
    assert waits["command"] == ["python", "manage.py", "migrate", "--check"]
    assert waits["image"] == found["image"]
    assert [other["command"][1:] for other in others] == (
        [["manage.py", "collectstatic", "--no-input"]] if name == "web" else []
    )
    if name == "web":
        assert found["livenessProbe"]["httpGet"]["path"] == found["startupProbe"]["httpGet"]["path"] == "/healthz"
    else:
        for probe in ("startupProbe", "livenessProbe"):
            assert found[probe]["exec"]["command"] == ["python", "-m", "config.monitoring.probe"]
        ((variable),) = found["env"]
        assert variable == {"name": liveness.VARIABLE, "value": "/tmp/alive"}


def test_web_is_ready_without_workers(db: None, client: Client) -> None:
    probe = main_container("web")["readinessProbe"]["httpGet"]
    headers = {header["name"]: header["value"] for header in probe["httpHeaders"]}
    assert headers == {"Host": "localhost"}
    assert client.get(probe["path"], headers=headers).status_code == 200


def test_the_waiting_ends_with_the_migrations(db: None) -> None:
    call_command("migrate", "--check", verbosity=0)
    ((app, newest),) = MigrationLoader(connection).graph.leaf_nodes("rlhf")
    MigrationRecorder(connection).record_unapplied(app, newest)
    with pytest.raises(SystemExit, match="1"):
        call_command("migrate", "--check", verbosity=0)


def test_services_and_policies_find_their_pods() -> None:
    labels = {name: found["spec"]["template"]["metadata"]["labels"] for name, found in PROGRAMS.items()}
    for name, found in PROGRAMS.items():
        if found["kind"] == "Deployment":
            assert found["spec"]["selector"]["matchLabels"] == labels[name]

    def matched(wanted: Mapping[str, str]) -> set[str]:
        return {name for name, has in labels.items() if wanted.items() <= has.items()}

    (service,) = [found for found in OBJECTS if found["kind"] == "Service"]
    assert matched(service["spec"]["selector"]) == {"web"}
    (budget,) = [found for found in OBJECTS if found["kind"] == "PodDisruptionBudget"]
    assert matched(budget["spec"]["selector"]["matchLabels"]) == {"web"}
    web, others = [found["spec"]["podSelector"] for found in OBJECTS if found["kind"] == "NetworkPolicy"]
    assert matched(web["matchLabels"]) == {"web"}
    assert matched(others["matchLabels"]) == set(PROGRAMS)


@pytest.mark.skipif(KUBECTL is None, reason="kubectl isn't installed")
@pytest.mark.parametrize("folder", ["base", "gpu", "s3"])
def test_kustomize_builds_it(folder: str) -> None:
    assert KUBECTL is not None
    built = subprocess.run([KUBECTL, "kustomize", str(FOLDER / folder)], capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    objects: list[Object] = list(yaml.safe_load_all(built.stdout))
    assert [fault for found in objects for fault in faults(found)] == []
    assert {found["metadata"]["namespace"] for found in objects} == {"hone"}
    programs = {found["metadata"]["name"]: found for found in objects if found["kind"] in ("Deployment", "Job")}
    assert set(programs) == set(PROGRAMS) - ({GPU} if folder == "base" else set())
    (settings,) = [found for found in objects if found["kind"] == "ConfigMap"]
    laid = {"base": (), "gpu": ("gpu",), "s3": ("gpu", "s3")}[folder]
    assert settings["data"] == literals("base") | {name: value for one in laid for name, value in literals(one).items()}
    assert Environment(settings["data"]).bucket("HONE_ARTEFACTS") == literals("s3")["HONE_ARTEFACTS"] * (folder == "s3")
    for found in programs.values():
        spec = found["spec"]["template"]["spec"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert container["envFrom"][0]["configMapRef"]["name"] == settings["metadata"]["name"]
            assert container["image"].startswith("registry.example/hone-")
    computes = {"worker-cpu", "worker-live", GPU} & set(programs)
    own_disk = {name for name, found in programs.items() if "emptyDir" in data_volume(found)}
    assert own_disk == (computes if folder == "s3" else set())
    for name in own_disk:
        migrated, model = programs[name]["spec"]["template"]["spec"]["initContainers"]
        (fetched,) = [found["command"] for found in containers("model")]
        assert (migrated["name"], model["command"]) == ("migrated", fetched)


def data_volume(program: Object) -> Object:
    (found,) = [each for each in program["spec"]["template"]["spec"]["volumes"] if each["name"] == "data"]
    return dict(found)
