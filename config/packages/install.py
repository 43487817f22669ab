"""Installs Hone with its packages: `python config/packages/install.py EXTRA,EXTRA`, as `make setup` does.

pip says which files it would take; each must be one that hashes.txt knows, and pip then installs exactly these. What
runs code while it is looked at, a package without a wheel, is compared first. Two things can't be known beforehand, and
are named when they happen: another build of PyTorch than the ones in hashes.txt, which other indexes than PyPI offer,
and packages that only another platform or build needs. `--by-version` asks constraints.txt alone, for an index whose
files are not PyPI's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

if __package__:
    from config.packages.pins import CONSTRAINTS, HASHES, ROOT, hashes, normalised, pins
else:  # as a program, when nothing of Hone can be imported yet
    from pins import CONSTRAINTS, HASHES, ROOT, hashes, normalised, pins  # type: ignore[import-not-found, no-redef]

BUILDER = "setuptools"
BUILT = {"rouge-score": "train"}
"""Packages that come without a wheel, and the extra that wants them."""
OTHER_BUILDS = {"torch"}


@dataclass(frozen=True)
class Planned:
    """A file that pip would install."""

    name: str
    version: str
    file: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.file})"


@dataclass(frozen=True)
class Verdict:
    """known: as hashes.txt has them. another_build, unpinned: installed, and named. refused: nothing is installed."""

    known: list[Planned]
    another_build: list[Planned]
    unpinned: list[Planned]
    refused: list[Planned]


def planned(report: Mapping[str, Any]) -> list[Planned]:
    """The files of pip's report, without Hone itself, which is a folder."""
    found = []
    for item in report["install"]:
        archive = item["download_info"].get("archive_info")
        if archive is None:
            continue
        sha256 = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
        file = unquote(item["download_info"]["url"].rpartition("/")[2].partition("#")[0])
        found.append(Planned(normalised(item["metadata"]["name"]), item["metadata"]["version"], file, sha256))
    return found


def judged(files: list[Planned], known: Mapping[tuple[str, str], frozenset[str]]) -> Verdict:
    verdict = Verdict([], [], [], [])
    names = {name for name, _version in known}
    for each in files:
        # A build of its own carries a label in its version ("2.13.0+cpu"), and is pinned by the part before.
        release = each.version.partition("+")[0]
        if each.sha256 in known.get((each.name, release), frozenset()):
            verdict.known.append(each)
        elif each.name in OTHER_BUILDS and (each.name, release) in known:
            verdict.another_build.append(each)
        elif each.name not in names:
            verdict.unpinned.append(each)
        else:
            verdict.refused.append(each)
    return verdict


def pip(*arguments: str) -> str:
    """What pip prints. Raises SystemExit with what it complains of."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"pip {arguments[0]} failed:\n{done.stderr.strip()[-4000:]}")
    return done.stdout


def install(lines: list[str], folder: Path) -> None:
    """Install these files and no others: pip compares each with its hash again."""
    lock = folder / "lock.txt"
    lock.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pip("install", "--quiet", "--no-deps", "--no-build-isolation", "--require-hashes", "--requirement", str(lock))


def by_hash(extras: str) -> None:
    """Raises SystemExit where the index offers a file that hashes.txt doesn't know."""
    known = hashes(HASHES.read_text(encoding="utf-8"))
    versions = pins(CONSTRAINTS.read_text(encoding="utf-8"))
    wanted = set(extras.split(","))
    with tempfile.TemporaryDirectory(prefix="hone-setup-") as made:
        folder = Path(made)
        for name in [BUILDER, *(name for name, extra in BUILT.items() if extra in wanted)]:
            digests = " ".join(f"--hash=sha256:{digest}" for digest in sorted(known[name, versions[name]]))
            install([f"{name}=={versions[name]} {digests}"], folder)
        report = folder / "report.json"
        pip(
            *("install", "--quiet", "--dry-run", "--report", str(report), "--only-binary", ":all:"),
            *("--no-build-isolation", "--constraint", str(CONSTRAINTS), f".[{extras}]" if extras else "."),
        )
        verdict = judged(planned(json.loads(report.read_text(encoding="utf-8"))), known)
        if verdict.refused:
            raise SystemExit(
                "Nothing was installed: the package index offers other files than hashes.txt has.\n"
                + "".join(f"  {each}\n" for each in verdict.refused)
                + "Where you trust that index all the same: make setup HASHES=0 installs by version alone."
            )
        chosen = [*verdict.known, *verdict.another_build, *verdict.unpinned]
        if chosen:
            install([each.requirement for each in chosen], folder)
    pip("install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", ".")
    if verdict.known:
        print(f"{len(verdict.known)} files were compared with hashes.txt.")
    for each in verdict.another_build:
        print(f"By its version alone: {each} is another build than those in hashes.txt.")
    for each in verdict.unpinned:
        print(f"In no pinned version: {each}, which this platform or build needs.")


def by_version(extras: str) -> None:
    named = f".[{extras}]" if extras else "."
    pip("install", "--quiet", "--constraint", str(CONSTRAINTS), "--editable", named)
    print("Installed by version alone: no file was compared with hashes.txt.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Install Hone with its packages.")
    parser.add_argument("extras", nargs="?", default="", help="Extras of pyproject.toml, between commas.")
    parser.add_argument("--by-version", action="store_true", help="Compare no file with hashes.txt.")
    options = parser.parse_args()
    (by_version if options.by_version else by_hash)(options.extras)
