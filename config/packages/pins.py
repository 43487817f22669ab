"""constraints.txt and hashes.txt as Python reads them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
HASHES = ROOT / "hashes.txt"
PIN = re.compile(r"(?<![A-Za-z0-9._-])([A-Za-z0-9._-]{1,100})==([^\s\\]{1,100})")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


def normalised(name: str) -> str:
    """The one form of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(written: str) -> dict[str, str]:
    """{normalised name: version} of constraints."""
    lines = (line.strip() for line in written.split("\n"))
    found = [PIN.fullmatch(line) for line in lines if line and not line.startswith("#")]
    return {normalised(match[1]): match[2] for match in found if match is not None}


def hashes(written: str) -> dict[tuple[str, str], frozenset[str]]:
    """{(normalised name, version): SHA-256 of each file that may be installed}."""
    found = {}
    for line in written.replace("\\\n", " ").split("\n"):
        if match := PIN.match(line):
            found[normalised(match[1]), match[2]] = frozenset(HASH.findall(line))
    return found
