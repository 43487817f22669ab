"""Installs what tests need beside Python packages (`python -m tests.harness.machine`): PostgreSQL, Chromium, nginx.

With root's rights on Debian or Ubuntu it does so by itself; elsewhere it says what to install.
"""

import os
import shutil
import subprocess

from tests.databases.postgresql import find_program

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def find_nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def missing_packages() -> list[str]:
    found = {"postgresql": find_program("initdb"), "chromium": find_chromium(), "nginx-light": find_nginx()}
    return [package for package, program in found.items() if program is None]


def install() -> None:
    missing = missing_packages()
    if not missing:
        return
    names = " and ".join(missing)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(
            f"The tests need {names}. Install it (Debian: apt-get install {' '.join(missing)}), then run again."
        )
    print(f"Installing {names} for the tests ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing],
    ):
        finished = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if finished.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{finished.stdout[-3000:]}")
    if still := missing_packages():
        raise SystemExit(f"Installed, and yet not found: {', '.join(still)}.")


if __name__ == "__main__":
    install()
