"""Known vulnerabilities of what is pinned: `python -m config.packages.audit PIP_AUDIT`, as `make audit` does.

pip-audit, by the path given, asks the package index about each pinned version, and npm its registry about the browser
libraries. An index that a firm runs often has no such data; then nothing is known, and that is what is said.

Exit status: 0 nothing is known of any of them, 1 vulnerabilities are known, 3 some could not be looked up.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from config.assets.browser_libraries import PINNED, STATIC, npm
from config.packages.pins import HASHES

VULNERABLE, UNKNOWN = 1, 3


def python_report(reply: Mapping[str, Any]) -> tuple[list[str], int, int]:
    """(sentences on vulnerabilities, packages looked up, packages that could not be) of pip-audit's reply."""
    found, asked, skipped = [], 0, 0
    for each in reply["dependencies"]:
        if "skip_reason" in each:
            skipped += 1
            continue
        asked += 1
        for flaw in each["vulns"]:
            fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
            found.append(f"{each['name']} {each['version']}: {flaw['id']}, mended in {fixed}")
    return found, asked, skipped


def browser_report(reply: Mapping[str, Any]) -> list[str] | None:
    """Sentences on vulnerabilities of npm's reply; None where it is none."""
    if "vulnerabilities" not in reply:
        return None
    flaws = reply["vulnerabilities"].values()
    return [f"{flaw['name']} {flaw['range']}: {flaw['severity']}, by npm's list" for flaw in flaws]


def conclusion(found: list[str], *, asked: int, skipped: int, browser: list[str] | None) -> tuple[list[str], int]:
    """The lines to print, and the exit status."""
    lines = [*found, *(browser or [])]
    if skipped or not asked:
        lines.append(
            f"{asked} of {asked + skipped} Python packages could be looked up: the package index has no data on "
            "vulnerabilities of the others. Of these nothing is known, for better or worse."
        )
    if browser is None:
        lines.append("The browser libraries could not be looked up: npm's registry has no data on vulnerabilities.")
    if found or browser:
        return lines, VULNERABLE
    if skipped or not asked or browser is None:
        return lines, UNKNOWN
    return [f"No vulnerability is known of {asked} Python packages and the browser libraries."], 0


def main(program: str) -> int:
    done = subprocess.run(
        [
            *(program, "--requirement", str(HASHES), "--require-hashes", "--disable-pip", "--no-deps"),
            *("--format", "json", "--progress-spinner", "off"),
        ],
        capture_output=True,
        text=True,
    )
    found, asked, skipped = python_report(_parsed(done.stdout, otherwise={"dependencies": []}))
    if not asked and not skipped:
        print(done.stderr.strip()[-2000:], file=sys.stderr)
    lines, status = conclusion(found, asked=asked, skipped=skipped, browser=browser_report(_npm()))
    print("\n".join(lines))
    return status


def _npm() -> Mapping[str, Any]:
    with TemporaryDirectory(prefix="hone-audit-") as folder:
        for name in PINNED:
            shutil.copy(STATIC / name, Path(folder))
        done = subprocess.run(
            [*npm(), "audit", "--package-lock-only", "--json", "--audit=true"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    return _parsed(done.stdout, otherwise={})


def _parsed(written: str, *, otherwise: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        parsed = json.loads(written)
    except ValueError:
        return otherwise
    return parsed if isinstance(parsed, dict) else otherwise


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
