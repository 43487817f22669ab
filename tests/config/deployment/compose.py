"""What docker/compose.yml runs: the same programs as systemd, Kubernetes and `serve`."""

import json
import re
import sys
from typing import Any

import yaml

from tests.conftest import ROOT

DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text(encoding="utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}


def dockerfile(service: dict[str, Any]) -> str:
    return (ROOT / service["build"]["dockerfile"]).read_text(encoding="utf-8")


def arguments(name: str) -> list[str]:
    """Behind "python": the service's own command, or its image's."""
    service = OURS[name]
    command: list[str] = service.get("command") or json.loads(
        re.findall(r"^CMD (\[.*\])$", dockerfile(service), re.M)[-1]
    )
    assert command[0] == "python"
    return command[1:]


def start_command(name: str) -> list[str]:
    return [sys.executable, *arguments(name)]


def documented_variables() -> set[str]:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `([A-Z_]+)`", text, re.M))
