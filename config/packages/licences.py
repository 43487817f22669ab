"""Licences of every package and browser library, read from their metadata: `python -m config.packages.licences`
writes docs/licences.md, which a test compares with what is installed.
"""

import json
import re
import tomllib
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

from config.assets.browser_libraries import STATIC
from config.packages.pins import CONSTRAINTS, ROOT, normalised, pins

PAGE = ROOT / "docs" / "licences.md"

ALLOWED = {
    "0BSD": "asks for nothing",
    "Apache-2.0": "asks to keep its notices; grants patents",
    "Apache-2.0 WITH LLVM-exception": "as Apache-2.0, and asks for no notice in what is compiled",
    "BSD": "asks to keep its notice (its metadata don't say which of the BSD licences)",
    "BSD-2-Clause": "asks to keep its notice",
    "BSD-3-Clause": "asks to keep its notice",
    "BSL-1.0": "asks to keep its notice in source",
    "CC0-1.0": "asks for nothing",
    "CNRI-Python": "asks to keep its notice",
    "ISC": "asks to keep its notice",
    "MIT": "asks to keep its notice",
    "MIT-0": "asks for nothing",
    "MIT-CMU": "asks to keep its notice",
    "MPL-2.0": "changed files of it stay under it; Hone changes none",
    "PSF-2.0": "asks to keep its notice",
    "Zlib": "asks to keep its notice in source",
}
"""Licences that any package may have, and what each asks of who passes Hone on."""

NAMED = {
    "LGPL-3.0-only": {
        "psycopg": "the driver of PostgreSQL: a library of its own that anybody can replace",
        "psycopg-binary": "the same, compiled",
    },
    "GPL-3.0-or-later": {
        "djlint": "a program that formats templates; only developers run it, and nothing of Hone imports it",
    },
}
"""Licences that ask for more, and the packages that may have them, with the reason."""

FREE_TEXTS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What older metadata call a licence."""

READ_BY_HAND = {
    "axe-playwright-python": "MIT",  # no metadata; LICENSE in its wheel
    "fido2": "BSD-2-Clause AND Apache-2.0 AND MPL-2.0",  # its own text, and two files that came from elsewhere
    "itsdangerous": "BSD-3-Clause",  # LICENSE.txt in its wheel
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "qrcode": "BSD-3-Clause",  # its metadata add "Other": a notice about a trademark
}

EXPRESSION = re.compile(r"(?<![\w.-])[\w.-]{1,60}( (AND|OR) [\w.-]{1,60}){1,9}")

USES = {
    "": "web and workers",
    "train": "training",
    "cpu-kernels": "training",
    "qlora": "training",
    "gguf": "training",
    "gpu": "training",
    "tensorboard": "options",
    "wandb": "options",
    "mlflow": "options",
    "observability": "options",
    "s3": "web and workers",
    "harness": "options",
    "bench": "development",
    "dev": "development",
}
"""What the extras of pyproject.toml are for, the most important first."""


def atoms(expression: str) -> list[str]:
    """The licences that bind: of alternatives the first that is allowed for everybody, else all."""
    alternatives = [re.split(r" AND ", part.strip("() ")) for part in expression.split(" OR ")]
    free = [part for part in alternatives if all(each in ALLOWED for each in part)]
    return free[0] if free else [each for part in alternatives for each in part]


def refusals(licences: dict[str, str]) -> list[str]:
    """A sentence for each package whose licence is not allowed."""
    return [
        f"{name}: {licence}"
        for name, licence in licences.items()
        for atom in atoms(licence)
        if atom not in ALLOWED and name not in NAMED.get(atom, {})
    ]


def of_python() -> dict[str, str]:
    """{package: licence as an SPDX expression} of everything that is pinned and installed."""
    found = {}
    for name in pins(CONSTRAINTS.read_text(encoding="utf-8")):
        if (there := _distribution(name)) is not None:
            found[name] = _licence(name, there)
    return dict(sorted(found.items()))


def of_browser_libraries() -> dict[str, str]:
    lock = json.loads((STATIC / "package-lock.json").read_text(encoding="utf-8"))
    return {
        path.rpartition("node_modules/")[2]: package["license"]
        for path, package in sorted(lock["packages"].items())
        if path
    }


def uses() -> dict[str, str]:
    """{package: what it is installed for}, by the requirements of Hone's extras and of theirs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {"": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, str] = {}
    for extra, use in USES.items():
        waiting = deque(_needs(wanted[extra], extra=""))
        seen = set()
        while waiting:
            name, chosen = waiting.popleft()
            if (name, chosen) in seen or (there := _distribution(name)) is None:
                continue
            seen.add((name, chosen))
            found.setdefault(name, use)
            waiting.extend(_needs(there.requires or [], extra=chosen))
    return found


def _needs(requirements: Iterable[str], *, extra: str) -> Iterator[tuple[str, str]]:
    """(package, extra or nothing) of what these requirements mean on this machine."""
    for written in requirements:
        need = Requirement(written)
        if need.marker is None or need.marker.evaluate({"extra": extra}):
            yield from ((normalised(need.name), each) for each in ["", *need.extras])


@cache
def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _licence(name: str, there: Distribution) -> str:
    if name in READ_BY_HAND:
        return READ_BY_HAND[name]
    if expression := (there.metadata.get_all("License-Expression") or [""])[0]:
        return str(expression)
    named = [each for each in there.metadata.get_all("Classifier") or [] if each.startswith("License ::")]
    short = [each.rpartition(" :: ")[2] for each in named]
    known = [FREE_TEXTS[each] for each in short if each in FREE_TEXTS]
    written = str((there.metadata.get_all("License") or [""])[0]).strip()
    if written in {*ALLOWED, *NAMED} or EXPRESSION.fullmatch(written):
        return written
    if known:
        return " AND ".join(known)
    return FREE_TEXTS.get(written, written.partition("\n")[0][:60] or "not said")


def page() -> str:
    lines = [
        "# Licences of what Hone is made of",
        "",
        "Every package that `constraints.txt` pins, and every library that pages load, by what their own metadata say.",
        "Written by `python -m config.packages.licences`; a test compares it with what is installed, and refuses a",
        "licence that is not among these:",
        "",
        "| licence | what it asks for |",
        "| --- | --- |",
        *(f"| {licence} | {reason} |" for licence, reason in ALLOWED.items()),
        "",
        "Licences that ask for more, each for named packages alone:",
        "",
        "| licence | package | why |",
        "| --- | --- | --- |",
        *(f"| {licence} | {name} | {why} |" for licence, named in NAMED.items() for name, why in named.items()),
        "",
        "## Python packages",
        "",
        "| package | licence | for |",
        "| --- | --- | --- |",
    ]
    needed = uses()
    lines += [f"| {name} | {licence} | {needed.get(name, '')} |" for name, licence in of_python().items()]
    lines += ["", "## Browser libraries", "", "| library | licence |", "| --- | --- |"]
    lines += [f"| {name} | {licence} |" for name, licence in of_browser_libraries().items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
