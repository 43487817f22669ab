"""Rows into a project, out of it, into another one and back: the same records, whatever texts they hold."""

import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import transaction

from annotate.data.imports import import_file
from annotate.formats.rows import BadRow, LeftOut, parsed
from annotate.models import Project, User
from annotate.people.projects import create_project
from tests.annotate.data.test_own_exports import KINDS, lines, nothing_new, without_numbers
from tests.databases import migrated_database
from tests.fuzz import hostile_data
from tests.fuzz.campaign import Part

OWN_FORMATS = ("hone", "parquet", "trl")
"""Whose rows name the records that they are of; the others are tried in tests/annotate/data/test_round_trips.py."""


def round_trip(rng: random.Random) -> None:
    """Own exports, of a project that a file filled, come back equal and change nothing where they came from."""
    with tempfile.TemporaryDirectory(prefix="hone-fuzz-") as folder, transaction.atomic():
        try:
            with mock.patch.object(settings, "HONE_DATA", Path(folder) / "var"):
                _round_trip(rng, Path(folder))
        finally:
            transaction.set_rollback(True)


def _round_trip(rng: random.Random, folder: Path) -> None:
    admin, _made = User.objects.get_or_create(username="fuzz", defaults={"is_superuser": True})
    here, there = (create_project(by=admin, name=name) for name in ("Here", "There"))
    source = folder / "source.jsonl"
    rows = [row for row in (_row(rng) for _ in range(rng.randint(2, 12))) if _is_sound(row)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if not rows:
        return
    report = import_file(project=here, path=source, by=None)
    assert not report.errors, f"{report.errors} of {rows}"
    assert nothing_new(import_file(project=here, path=source, by=None)), f"the file brought more again: {rows}"
    mine = _exported(folder / "mine", "hone", here)
    format = rng.choice(OWN_FORMATS)
    for path in _exported(folder / "as", format, here).values():
        again = import_file(project=here, path=path, by=None)
        assert nothing_new(again), f"{path.name} as {format}: {again.summary} {again.errors} of {rows}"
    assert lines(_exported(folder / "after", "hone", here)) == lines(mine), f"own rows changed, of {rows}"
    for path in mine.values():
        brought = import_file(project=there, path=path, by=None)
        assert not brought.errors, f"{path.name}: {brought.errors} of {rows}"
    theirs = _exported(folder / "theirs", "hone", there)
    one, other = without_numbers(mine), without_numbers(theirs)
    assert one == other, f"{[row for row in one if row not in other]} or {[row for row in other if row not in one]}"


def _exported(folder: Path, format: str, project: Project) -> dict[str, Path]:
    """Of each kind of which the project has rows, by the command as people call it."""
    folder.mkdir()
    paths = {kind: folder / f"{kind}.{'parquet' if format == 'parquet' else 'jsonl'}" for kind in KINDS}
    found = {}
    for kind, path in paths.items():
        try:
            call_command(
                *("export_data", project.slug, "--format", format, "--kind", kind, "--comments", "--out", str(path)),
                stdout=io.StringIO(),
            )
        except CommandError as error:
            if "nothing to freeze" not in str(error):
                raise
        else:
            found[kind] = path
    return found


def _is_sound(row: dict[str, Any]) -> bool:
    from annotate.formats.importers import hone

    try:
        return bool(parsed(hone, row))
    except (BadRow, LeftOut):
        return False


def _row(rng: random.Random) -> dict[str, Any]:
    """A row of Hone's own format, of any kind, with hostile texts in whichever of its fields."""
    row: dict[str, Any] = {"prompt": _prompt(rng)}
    for name, make in {
        "id": lambda: _text(rng, 40),
        "lang": lambda: rng.choice(["en", "zh", "ar", "xx", _text(rng, 5)]),
        "source": lambda: _text(rng, 60),
        "use_case": lambda: rng.choice(["chat", "other", "Brainstorming", _text(rng, 9)]),
        "kind": lambda: rng.choice(["plain", "few_shot", _text(rng, 9)]),
        "sensitive": lambda: rng.choice([True, False]),
    }.items():
        if rng.random() < 0.3:
            row[name] = make()
    return row | rng.choice([_nothing, _demonstration, _pair, _ranking, _rating])(rng)


def _nothing(rng: random.Random) -> dict[str, Any]:
    return {}


def _demonstration(rng: random.Random) -> dict[str, Any]:
    return {"response": _text(rng, 400), **_author(rng, "author")}


def _pair(rng: random.Random) -> dict[str, Any]:
    return {"chosen": _text(rng, 300), "rejected": _text(rng, 300), **_judged(rng)}


def _ranking(rng: random.Random) -> dict[str, Any]:
    responses = [
        {
            "text": _text(rng, 200),
            "rank": rng.choice([None, 1, 2, 2, 3, 7]),
            **_some(rng, {"model": _text(rng, 30), "note": _text(rng, 60), "flags": [_text(rng, 9)],
                          "ratings": {_text(rng, 9): rng.choice([1, 4.5, -3])}, "acceptable": False}),
        }
        for _ in range(rng.randint(2, 6))
    ]  # fmt: skip
    return {"responses": responses, **_judged(rng)}


def _rating(rng: random.Random) -> dict[str, Any]:
    return {"response": _text(rng, 300), "ratings": {_text(rng, 12): rng.choice([1, 2.5, -7])}, **_judged(rng)}


def _judged(rng: random.Random) -> dict[str, Any]:
    return _some(
        rng,
        {
            "labeler": _text(rng, 40),
            "judge": rng.choice(["gpt-4", _text(rng, 20)]),
            "comment": _text(rng, 200),
            "seconds": rng.choice([0, 1.5, 1e9]),
            "weight": rng.choice([0, 0.25, 1, 3]),
            "task": _text(rng, 20),
            "timestamp": "2024-05-01T10:00:00Z",
        },
    )


def _author(rng: random.Random, name: str) -> dict[str, Any]:
    return _some(rng, {name: _text(rng, 40), "origin": rng.choice(["human", "model"])})


def _some(rng: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if rng.random() < 0.4}


def _prompt(rng: random.Random) -> Any:
    if rng.random() < 0.5:
        return _text(rng, 300)
    roles = rng.choice([["user"], ["system", "user"], ["user", "assistant", "user"]])
    return [{"role": role, "content": _text(rng, 200)} for role in roles]


def _text(rng: random.Random, longest: int) -> str:
    """Mostly not a blank one, which is refused in most places."""
    return hostile_data.text(rng, longest=longest) or "x"


def prepare(folder: Path) -> None:
    """A database in the data folder of this process, by the tests' own copy where they have been run."""
    migrated_database.copy_sqlite(folder / "hone.sqlite3", cache=migrated_database.ROOT / ".pytest_cache/d/migrated")
    call_command("prepare", verbosity=0)


PARTS = [Part("round_trip", round_trip, seconds=60.0, repeats=False, hang=900)]
