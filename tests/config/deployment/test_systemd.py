"""The systemd units, as far as a machine without systemd as its first process can tell.

They start what compose and `serve` start, which other tests try; systemd's own checker finds no fault with them.
"""

import dataclasses
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.celery import celery
from celery.bin.worker import worker
from click import Command
from django.conf import settings

from config.celery import app
from config.environment import Environment
from config.serving.programs import all_programs
from tests.config.deployment.compose import arguments, documented_variables
from tests.conftest import ROOT

UNITS = ROOT / "deploy" / "systemd"
PYTHON = "/opt/hone/.venv/bin/python"
ANALYZE = shutil.which("systemd-analyze")
LARGEST_EXPOSURE = 25
"""Tenths, of systemd's own figure from 0 (nothing is open to the service) to 10."""

SERVICES = {
    "hone-prepare.service": "prepare",
    "hone-model.service": "model",
    "hone-web.service": "web",
    "hone-beat.service": "beat",
    "hone-worker@default.service": "worker-default",
    "hone-worker@cpu.service": "worker-cpu",
    "hone-worker@live.service": "worker-live",
}
"""Each with compose's service that runs the same."""
OTHERS = ["hone-worker-gpu@0.service", "hone-serve.service"]

analyzed = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze isn't installed")


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit with its drop-ins, by systemd's rules: (section, key, value), the later ones behind."""

    name: str
    lines: tuple[tuple[str, str, str], ...]

    def values(self, section: str, key: str) -> list[str]:
        return [value for *found, value in self.lines if found == [section, key]]

    def value(self, key: str) -> str:
        return self.values("Service", key)[-1]

    @property
    def environment(self) -> dict[str, str]:
        words = [word for line in self.values("Service", "Environment") for word in shlex.split(line)]
        return dict(self._expanded(word).split("=", 1) for word in words)

    @property
    def command(self) -> list[str]:
        """ExecStart as the kernel gets it, but for %h, the host's name."""
        (line,) = self.values("Service", "ExecStart")
        variables = self.environment
        words = [re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word) for word in shlex.split(line)]
        return [self._expanded(word) for word in words]

    def _expanded(self, word: str) -> str:
        instance = self.name.partition("@")[2].removesuffix(".service")
        return re.sub("%(.)", lambda found: {"i": instance, "%": "%"}[found[1]], word)


def unit(name: str) -> Unit:
    template = re.sub("@.*[.]", "@.", name)
    folders = {UNITS / f"{found}.d" for found in ("hone-.service", name, template)}
    drop_ins = sorted((path for folder in folders for path in folder.glob("*.conf")), key=lambda path: path.name)
    return Unit(name, tuple(line for path in [UNITS / template, *drop_ins] for line in settings_of(path)))


def settings_of(path: Path) -> Iterator[tuple[str, str, str]]:
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            yield section, key, value


def quietly(words: list[str]) -> list[str]:
    """Without how much is logged, in which `serve` and servers differ."""
    if "--loglevel" in words:
        at = words.index("--loglevel")
        return words[:at] + words[at + 2 :]
    return words


def test_every_unit_is_looked_at() -> None:
    templates = {re.sub("@.*[.]", "@.", name) for name in [*SERVICES, *OTHERS]}
    assert {path.name for path in UNITS.glob("*.service")} == templates
    drop_ins = {path.parent.name.removesuffix(".d") for path in UNITS.glob("*/*.conf")}
    assert drop_ins <= {"hone-.service", *SERVICES, *OTHERS} | templates


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_what_compose_runs(name: str) -> None:
    assert unit(name).command == [PYTHON, *arguments(SERVICES[name])]


def test_services_run_what_serve_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "HONE_GPUS", 1)
    monkeypatch.setattr(settings, "REDIS_URL", "redis://127.0.0.1:6379/1")
    monkeypatch.setattr(settings, "HONE_BASE_MODEL", "/no/model/to/fetch")
    names = ["web", "beat", "worker@default", "worker@cpu", "worker@live", "worker-gpu@0"]
    programs = all_programs()
    assert len(programs) == len(names)
    for name, program in zip(names, programs, strict=True):
        found = unit(f"hone-{name}.service")
        assert quietly(found.command) == [PYTHON, *quietly(program.command[1:])]
        for variable in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            assert found.environment.get(variable, "") == program.environment.get(variable, "")


@pytest.mark.parametrize("name", [*SERVICES, *OTHERS])
def test_a_command_is_one_that_its_program_understands(name: str) -> None:
    python, *words = unit(name).command
    assert python == PYTHON
    if words[:2] == ["-m", "celery"]:
        assert words[2:4] == ["-A", "config"]
        programs: dict[str, Command] = {"worker": worker, "beat": beat}
        with celery.make_context("celery", words[2:], obj=CLIContext(app, no_color=True, workdir=None)) as whole:
            given = programs[words[4]].make_context(words[4], words[5:], parent=whole)
        assert given.args == []
    elif words[0] == "manage.py":
        assert (ROOT / f"config/management/commands/{words[1]}.py").exists()
        assert words[2:] == []


def test_they_set_only_variables_that_exist() -> None:
    lines = (UNITS / "hone.environment").read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(example) <= documented_variables()
    read = Environment(example)
    assert read.database("DATABASE_URL", default=ROOT)["HOST"] == "127.0.0.1"
    assert read.broker("REDIS_URL") == "redis://127.0.0.1:6379/1"
    foreign = {"CONCURRENCY", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "PYTHONUNBUFFERED", "XDG_CACHE_HOME"}
    for name in [*SERVICES, *OTHERS]:
        assert set(unit(name).environment) <= documented_variables() | foreign


@pytest.mark.parametrize("name", [*SERVICES, *OTHERS])
def test_a_service_has_no_rights_that_it_can_do_without(name: str) -> None:
    found = unit(name)
    assert (found.value("User"), found.value("ProtectSystem"), found.value("UMask")) == ("hone", "strict", "0077")
    assert found.value("NoNewPrivileges") == "yes"
    assert found.value("EnvironmentFile") == "/etc/hone/hone.environment"
    sees_devices = name in OTHERS
    assert found.value("PrivateDevices") == found.value("ProtectClock") == ("no" if sees_devices else "yes")


def test_workers_have_as_long_to_stop_as_containers() -> None:
    for name in SERVICES:
        found = unit(name)
        assert (found.value("KillMode"), found.value("TimeoutStopSec")) == ("mixed", "30")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units where systemd looks for them, with programs that this machine has."""
    folder = tmp_path_factory.mktemp("root")
    units = folder / "etc/systemd/system"
    shutil.copytree(UNITS, units)
    for path in units.rglob("*.service"):
        if path.is_file():
            path.write_text(path.read_text(encoding="utf-8").replace(PYTHON, sys.executable), encoding="utf-8")
    return folder


@analyzed
def test_systemd_finds_no_fault_with_them(root: Path) -> None:
    assert ANALYZE is not None
    units = [str(root / "etc/systemd/system" / name) for name in ["hone.target", *SERVICES, *OTHERS]]
    checked = subprocess.run([ANALYZE, "verify", "--man=no", *units], capture_output=True, text=True)
    # It complains of unknown keys with status 0.
    assert (checked.returncode, checked.stderr) == (0, "")


@analyzed
def test_systemd_calls_their_exposure_small(root: Path) -> None:
    assert ANALYZE is not None
    command = [ANALYZE, "security", "--offline=yes", f"--root={root}", f"--threshold={LARGEST_EXPOSURE}", "--no-pager"]
    checked = subprocess.run([*command, *SERVICES, *OTHERS], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr + checked.stdout
