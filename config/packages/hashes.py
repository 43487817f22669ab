"""Writes hashes.txt anew from constraints.txt: `python -m config.packages.hashes UV`, as `make hashes` does.

uv, by the path given, asks the package index for the hashes of every file of each pinned version. Besides there are
builds that other indexes offer: OTHER_FILES, each compared with what its publisher lists.
"""

import subprocess
import sys

from config.packages.pins import CONSTRAINTS, HASHES

OTHER_FILES = {
    # PyTorch's build for the CPU: torch-2.13.0+cpu, Linux on x86-64, Python 3.11.
    "torch==2.13.0": ("6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",),
}
HEADING = """\
# SHA-256 of every file of the versions in constraints.txt; written by make hashes.
"""


def write(uv: str) -> None:
    done = subprocess.run(
        [
            *(uv, "pip", "compile", str(CONSTRAINTS), "--no-deps", "--generate-hashes", "--no-header"),
            *("--no-annotate", "--no-config", "--python-version", "3.11", "--quiet"),
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"uv could not ask for the hashes:\n{done.stderr.strip()}")
    HASHES.write_text(HEADING + with_other_files(done.stdout), encoding="utf-8")


def with_other_files(written: str) -> str:
    """With OTHER_FILES behind the hashes of their version. Raises SystemExit for one whose version isn't pinned."""
    for pin, digests in OTHER_FILES.items():
        start = f"{pin} \\\n"
        if start not in written:
            raise SystemExit(f"{pin} isn't pinned any more, and OTHER_FILES has hashes of it.")
        more = "".join(f"    --hash=sha256:{digest} \\\n" for digest in digests)
        written = written.replace(start, start + more)
    return written


if __name__ == "__main__":
    write(sys.argv[1])
