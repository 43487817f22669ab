"""What Hone is installed from: every pin has hashes, what the index offers is compared, and licences are allowed."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from config.assets.browser_libraries import STATIC
from config.packages import audit, hashes, licences
from config.packages.install import BUILT, Planned, judged, planned
from config.packages.pins import CONSTRAINTS, HASHES, normalised, pins
from config.packages.pins import hashes as read_hashes
from tests.conftest import ROOT

PINS = pins(CONSTRAINTS.read_text(encoding="utf-8"))
KNOWN = read_hashes(HASHES.read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
A, B = "a" * 64, "b" * 64


def test_every_pin_has_hashes_and_every_hash_a_pin() -> None:
    assert set(KNOWN) == set(PINS.items())
    assert [pin for pin, files in KNOWN.items() if not files] == []
    assert len(PINS) > 150


def test_what_is_installed_is_what_is_pinned() -> None:
    assert {name: version(name).partition("+")[0] for name in PINS} == PINS


def test_what_make_setup_installs_is_pinned() -> None:
    extras = re.findall(r"^EXTRAS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)[0].split(",")
    wanted = [*PROJECT["dependencies"], *(need for extra in extras for need in PROJECT["optional-dependencies"][extra])]
    assert [need for need in wanted if normalised(Requirement(need).name) not in PINS] == []
    assert set(licences.uses()) - set(PINS) == set()


def test_no_file_names_a_place_to_load_from() -> None:
    for path in (CONSTRAINTS, HASHES):
        assert "://" not in path.read_text(encoding="utf-8")


def test_builds_of_other_indexes_are_among_the_hashes() -> None:
    for pin, digests in hashes.OTHER_FILES.items():
        name, _, release = pin.partition("==")
        assert set(digests) <= KNOWN[name, release]


def test_a_build_of_a_version_that_is_pinned_no_more_is_refused() -> None:
    with pytest.raises(SystemExit, match=re.escape("torch==2.13.0 isn't pinned any more")):
        hashes.with_other_files(f"torch==3.0 \\\n    --hash=sha256:{A}\n")


def test_hashes_are_read_as_uv_writes_them() -> None:
    written = f"# Why.\nA_b.c==1.0 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\nd==2\n"
    assert read_hashes(written) == {("a-b-c", "1.0"): frozenset({A, B}), ("d", "2"): frozenset()}
    assert pins("# Why.\nA_b.c==1.0\n\nd==2\n") == {"a-b-c": "1.0", "d": "2"}


def reported(name: str, release: str, sha256: str, *, old: bool = False) -> dict[str, Any]:
    """An entry of pip's report; pip before 23 wrote the hash in another way."""
    archive = {"hash": f"sha256={sha256}"} if old else {"hashes": {"sha256": sha256}}
    url = f"file:///wheels/{name}-{release.replace('+', '%2B')}-py3-none-any.whl"
    return {"metadata": {"name": name, "version": release}, "download_info": {"url": url, "archive_info": archive}}


def test_a_file_is_known_refused_or_named() -> None:
    hone = {"metadata": {"name": "hone", "version": "1"}, "download_info": {"url": "file:///hone", "dir_info": {}}}
    entries = [
        hone,
        reported("Good_One", "1.0", A),
        reported("torch", "2.13.0+cpu", B, old=True),
        reported("beyond", "3", B),
        reported("good-two", "1.0", B),
        reported("good-three", "1.1", A),
    ]
    files = planned({"install": entries})
    known = {(name, "1.0"): frozenset({A}) for name in ("good-one", "good-two", "good-three")}
    verdict = judged(files, known | {("torch", "2.13.0"): frozenset({A})})
    assert [str(each) for each in verdict.known] == ["good-one 1.0 (Good_One-1.0-py3-none-any.whl)"]
    assert [str(each) for each in verdict.another_build] == [
        "torch 2.13.0+cpu (torch-2.13.0+cpu-py3-none-any.whl)",
    ]
    assert [each.name for each in verdict.unpinned] == ["beyond"]
    # Another file of the version, and another version: neither is what was tested.
    assert [each.name for each in verdict.refused] == ["good-two", "good-three"]
    assert verdict.known[0].requirement == f"good-one==1.0 --hash=sha256:{A}"


def test_the_known_build_of_torch_counts_as_known() -> None:
    (digest,) = hashes.OTHER_FILES["torch==2.13.0"]
    verdict = judged([Planned("torch", "2.13.0+cpu", "torch.whl", digest)], KNOWN)
    assert [each.name for each in verdict.known] == ["torch"]


def test_packages_without_a_wheel_are_compared_before_pip_looks_at_them() -> None:
    """They run code while it does. make setup fails for one that isn't named here: it looks at wheels alone."""
    for name, extra in BUILT.items():
        needs = {normalised(Requirement(need).name) for need in PROJECT["optional-dependencies"][extra]}
        assert name in needs
        assert name in PINS


class TestLicences:
    def test_every_package_and_library_has_an_allowed_one(self) -> None:
        assert licences.refusals(licences.of_python() | licences.of_browser_libraries()) == []
        assert set(licences.of_python()) == set(PINS)

    def test_the_page_says_what_is_installed(self) -> None:
        assert licences.PAGE.read_text(encoding="utf-8") == licences.page()

    def test_packages_with_a_licence_of_their_own_are_there(self) -> None:
        found = licences.of_python()
        for licence, named in licences.NAMED.items():
            assert {name: found[name] for name in named} == dict.fromkeys(named, licence)

    @pytest.mark.parametrize(
        ("licence", "refused"),
        [
            ("MIT", False),
            ("MIT AND BSD-3-Clause", False),
            ("GPL-3.0-or-later OR MIT", False),
            ("MIT AND GPL-3.0-or-later", True),
            ("(MIT AND AGPL-3.0-only) OR SSPL-1.0", True),
            ("not said", True),
        ],
    )
    def test_each_part_counts_and_of_alternatives_one(self, licence: str, refused: bool) -> None:
        assert bool(licences.refusals({"a-package": licence})) is refused

    def test_every_browser_library_is_compared_by_its_hash(self) -> None:
        lock = json.loads((STATIC / "package-lock.json").read_text(encoding="utf-8"))
        without = [path for path, package in lock["packages"].items() if path and not package.get("integrity")]
        assert without == []


class TestAudit:
    SKIPPED = {"name": "b", "skip_reason": "not there"}
    FINE = {"name": "a", "version": "1", "vulns": []}
    FLAW = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1", "3"]}]}

    @pytest.mark.parametrize(
        ("python", "npm", "status", "last"),
        [
            (
                [FINE],
                {"vulnerabilities": {}},
                0,
                "No vulnerability is known of 1 Python packages and the browser libraries.",
            ),
            ([FINE, FLAW], {"vulnerabilities": {}}, 1, "c 2: PYSEC-1, mended in 2.1, 3"),
            ([FINE, SKIPPED], {"vulnerabilities": {}}, 3, "1 of 2 Python packages could be looked up"),
            ([FINE], {"error": "no"}, 3, "The browser libraries could not be looked up"),
            ([], {}, 3, "The browser libraries could not be looked up"),
            (
                [FINE],
                {"vulnerabilities": {"katex": {"name": "katex", "range": "<1", "severity": "high"}}},
                1,
                "katex <1: high, by npm's list",
            ),
        ],
    )
    def test_says_what_is_known_and_what_is_not(
        self, python: list[dict[str, Any]], npm: dict[str, Any], status: int, last: str
    ) -> None:
        found, asked, skipped = audit.python_report({"dependencies": python})
        lines, code = audit.conclusion(found, asked=asked, skipped=skipped, browser=audit.browser_report(npm))
        assert code == status
        assert lines[-1].startswith(last)

    def test_without_an_answer_nothing_is_called_safe(self, tmp_path: Path) -> None:
        """A stand-in for pip-audit that prints no JSON."""
        program = tmp_path / "pip-audit"
        program.write_text(f"#!{sys.executable}\nraise SystemExit('no index')\n", encoding="utf-8")
        program.chmod(0o755)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from config.packages import audit; audit._npm = dict; raise SystemExit(audit.main({str(program)!r}))",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 3
        assert "0 of 0 Python packages could be looked up" in done.stdout
        assert "no index" in done.stderr
