"""The pages' scripts as they are served: modules that import each other by names of their content."""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.management import call_command
from django.test import override_settings

from annotate.views.work.responses import MODULES

IMPORT = re.compile(r"""\b(?:from|import) ['"](\.[^'"]+)['"]""")
STATIC = Path(__file__).resolve().parents[3] / "static"
ENTRIES = (
    "hone/hone.js",
    "hone/charts.js",
    "hone/curves/curves.js",
    "hone/launch.js",
    "hone/period_charts.js",
    "hone/round_chart.js",
    "hone/security_keys.js",
    "hone/work/work.js",
)


def imports_of(folder: Path, name: str) -> list[str]:
    source = (folder / name).read_text(encoding="utf-8")
    return [posixpath.normpath(posixpath.join(posixpath.dirname(name), url)) for url in IMPORT.findall(source)]


def closure(folder: Path, name: str) -> set[str]:
    """The module and all that it imports."""
    found, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imports_of(folder, module)
    return found


def test_every_import_leads_to_the_collected_file_of_that_content(tmp_path: Path) -> None:
    storages: dict[str, Any] = {
        **django_settings.STORAGES,
        "staticfiles": {"BACKEND": "config.assets.static_files.ModuleStaticFilesStorage"},
    }
    with override_settings(STATIC_ROOT=tmp_path, STORAGES=storages):
        call_command("collectstatic", interactive=False, verbosity=0)
    hashed = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    plain = {served: name for name, served in hashed.items()}
    for entry in ENTRIES:
        served = closure(tmp_path, hashed[entry])
        assert {plain[name] for name in served} == closure(STATIC, entry)
        assert all(re.search(r"\.[0-9a-f]{12}\.js$", name) for name in served)


def test_the_work_page_fetches_ahead_what_its_script_imports() -> None:
    assert {*MODULES, "hone/work/work.js"} == closure(STATIC, "hone/work/work.js")
    assert len(set(MODULES)) == len(MODULES)


def test_no_module_is_left_over() -> None:
    used = set().union(*(closure(STATIC, entry) for entry in ENTRIES))
    there = {path.relative_to(STATIC).as_posix() for path in (STATIC / "hone").rglob("*.js")}
    assert there - used == {"hone/work/scripted.js"}
