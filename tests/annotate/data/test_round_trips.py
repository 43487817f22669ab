"""Every format that is written: read by `datasets`, and imported into another project as the data that it can carry."""

import json
import os
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from annotate.data import snapshots
from annotate.data.imports import import_file
from annotate.errors import Refused
from annotate.formats import EXPORTERS
from annotate.models import Project
from annotate.people.projects import create_project
from tests.factories.cast import Cast

CHAT = [
    {"role": "user", "content": "Name a fruit."},
    {"role": "assistant", "content": "An apple."},
    {"role": "user", "content": "=SUM(A1)\u2028another?"},
]
SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a stone."}]
GOOD = {"text": "A pear, “ripe”.", "model": "m-1", "ratings": {"help": 4, "id": 2}}
BAD = {"text": '@home,\n"none"', "model": "m-2", "ratings": {"help": 1, "id": 1}}
JUDGED = {"labeler": "ann", "seconds": 2.5, "comment": "=1+1", "timestamp": "2026-01-02T03:04:05+00:00"}
ROWS: list[dict[str, Any]] = [
    {"prompt": "Sort these.", "lang": "en", "use_case": "rewriting", "source": "-made-", "sensitive": True},
    {
        "prompt": CHAT,
        "opening": CHAT[:1],
        "response": "A plum.",
        "author": "ben",
        "author_kind": "person",
        "lang": "en",
    },
    {"prompt": "Name a tree.", "response": "An oak.", "model": "m-1", "lang": "en"},
    {"prompt": "Pick.", "responses": [{**GOOD, "rank": 1}, {**BAD, "rank": 2}], "margin": 2, "lang": "en"} | JUDGED,
    {
        "prompt": CHAT,
        "opening": CHAT[:1],
        "lang": "en",
        "judge": "gpt-4",
        "responses": [
            {"text": "one", "rank": 2},
            {"text": "two", "rank": 1},
            {"text": "three", "rank": 2},
            {"text": "four", "rank": None},
        ],
    },
    {"prompt": SYSTEM, "lang": "en", "labeler": "cem"}
    | {"responses": [{"text": "Flint.", "rank": 1}, {"text": "\n\nHuman: Clay.", "rank": 2}]},
    {"prompt": "All the same?", "lang": "en", "labeler": "ann"}
    | {"responses": [{"text": "Yes.", "rank": 1}, {"text": "No.", "rank": 1}]},
    {"prompt": "Rate.", "response": "c", "ratings": {"help": 3, "label": 1}, "model": "m-1", "lang": "en"} | JUDGED,
    {"prompt": CHAT, "opening": CHAT[:1], "response": "d", "ratings": {"label": 0}, "labeler": "ben", "lang": "en"},
]


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path):
    settings.HONE_DATA = tmp_path / "var"


@pytest.fixture
def source(cast: Cast, tmp_path: Path) -> Project:
    path = tmp_path / "source.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS))
    report = import_file(project=cast.project, path=path, by=None)
    assert report.errors == ()
    return cast.project


Row = dict[str, Any]
OF_DATABASE = ("id", "source_id", "prompt_id", "task")


def rows_of(project: Project, kind: str) -> list[Row]:
    """What the project holds of a kind, as Hone's own rows."""
    try:
        snapshot = snapshots.freeze(project=project, kind=kind, filters={"comments": True})
    except Refused:
        return []
    files = [snapshots.data_file(snapshot, split) for split in snapshots.SPLITS]
    return [json.loads(line) for file in files for line in file.read_text().split("\n") if line]


def whole(row: Row) -> list[Row]:
    return [{key: value for key, value in row.items() if key not in OF_DATABASE}]


def without(*keys: str) -> Callable[[Row], list[Row]]:
    """All that a row says but these fields, of itself or of its responses; an order as ranks without gaps."""

    def reduced(row: Row) -> list[Row]:
        kept = {key: value for key, value in row.items() if key not in (*OF_DATABASE, *keys)}
        ranks = sorted({item["rank"] for item in row.get("responses", []) if item["rank"] is not None})
        if "responses" in kept:
            kept["responses"] = [
                {name: value for name, value in item.items() if name not in keys}
                | {"rank": None if item["rank"] is None else ranks.index(item["rank"])}
                for item in row["responses"]
            ]
        return [kept]

    return reduced


def pairs(fits: Callable[[Row], bool] = lambda row: True) -> Callable[[Row], list[Any]]:
    def found(row: Row) -> list[Any]:
        ranked = sorted((item for item in row["responses"] if item["rank"]), key=lambda item: item["rank"])
        both = [
            (row["prompt"], one["text"], two["text"])
            for one, two in combinations(ranked, 2)
            if one["rank"] < two["rank"]
        ]
        return both if fits(row) else []

    return found


def is_single(row: Row) -> bool:
    return len(row["prompt"]) == 1


def has_no_system(row: Row) -> bool:
    return row["prompt"][0]["role"] != "system"


def demonstrations(row: Row) -> list[Any]:
    return [(row["prompt"], row["response"])]


def labels(row: Row) -> list[Any]:
    """(prompt, response, whether it is wanted) of a ranking or of a rating."""
    ranks = [item["rank"] for item in row["responses"] if item["rank"] is not None]
    if len(row["responses"]) == 1:
        (item,) = row["responses"]
        label = item.get("ratings", {}).get("label")
        return [] if label is None else [(row["prompt"], item["text"], float(label))]
    ends = {min(ranks): 1.0, max(ranks): 0.0} if len(set(ranks)) > 1 else {}
    return [(row["prompt"], item["text"], ends[item["rank"]]) for item in row["responses"] if item["rank"] in ends]


def ratings(row: Row) -> list[Any]:
    return [(row["prompt"], item["text"], item["ratings"]) for item in row["responses"] if item.get("ratings")]


# {(format, kind): what it carries of a row}; what comes back is compared by the same.
TOOL = without("rubric", "revision", "acceptable", "score", "author", "author_kind", "weight", "comment", "margin")
CARRIED: dict[tuple[str, str], Callable[[Row], list[Any]]] = {
    **{(format, kind): whole for format in ("hone", "parquet", "csv") for kind in EXPORTERS["hone"].kinds},
    ("trl", "prompts"): whole,
    ("trl", "demonstrations"): whole,
    ("trl", "ratings"): ratings,
    ("trl", "rankings"): pairs(),
    ("trl_text", "prompts"): lambda row: whole(row) if is_single(row) else [],
    ("trl_text", "demonstrations"): lambda row: demonstrations(row) if is_single(row) else [],
    ("trl_text", "rankings"): pairs(is_single),
    ("kto", "rankings"): labels,
    ("kto", "ratings"): labels,
    ("hh", "rankings"): pairs(has_no_system),
    ("oasst", "rankings"): lambda row: without(*row)(row) + orders(row) if has_no_system(row) else [],
    ("llamafactory", "rankings"): pairs(),
    ("llamafactory", "demonstrations"): demonstrations,
    ("llamafactory", "ratings"): labels,
    ("helpsteer", "ratings"): ratings,
    ("helpsteer", "rankings"): ratings,
    ("rewardbench", "rankings"): pairs(is_single),
    **{
        (format, kind): whole if kind in ("prompts", "demonstrations") else TOOL
        for format in ("argilla", "label_studio")
        for kind in EXPORTERS[format].kinds
    },
}


def orders(row: Row) -> list[Any]:
    (reduced,) = without("prompt")(row)
    return [(row["prompt"], [(item["text"], item["rank"]) for item in reduced["responses"]])]


COMES_AS = {("kto", "rankings"): "ratings", ("helpsteer", "rankings"): "ratings"}


def counted(found: list[Any]) -> Counter[str]:
    return Counter(
        # 4 and 4.0 are the same number.
        json.dumps(json.loads(json.dumps(item), parse_int=float), sort_keys=True)
        for item in found
    )


def test_every_format_and_kind_has_a_round_trip():
    assert set(CARRIED) == {(name, kind) for name, exporter in EXPORTERS.items() for kind in exporter.kinds}


@pytest.mark.parametrize("format", EXPORTERS)
def test_what_a_format_carries_comes_back(cast, source, tmp_path, format, monkeypatch):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    for kind in EXPORTERS[format].kinds:
        carried = CARRIED[format, kind]
        snapshot = snapshots.freeze(project=source, kind=kind, format=format, filters={"comments": True})
        out = tmp_path / f"{kind}{EXPORTERS[format].suffix}"
        snapshots.copy_out(snapshot, out)
        builder = {".csv": "csv", ".parquet": "parquet"}.get(out.suffix, "json")
        loaded = datasets.load_dataset(builder, data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == snapshot.rows
        fresh = create_project(by=cast.admin, name=f"{format} {kind}")
        report = import_file(project=fresh, path=out, by=None)
        assert report.errors == ()
        before = [fact for row in rows_of(source, kind) for fact in carried(row)]
        after = [fact for row in rows_of(fresh, COMES_AS.get((format, kind), kind)) for fact in carried(row)]
        if (format, kind) == ("llamafactory", "demonstrations"):
            # What a chat holds before its last response comes back as demonstrations too.
            assert counted(after) > counted(before)
        else:
            assert counted(after) == counted(before)
        assert before


def test_two_exports_of_the_same_data_have_the_same_hash(source):
    for format, exporter in EXPORTERS.items():
        first, second = (snapshots.freeze(project=source, kind=exporter.kinds[0], format=format) for _ in range(2))
        assert first.sha256 == second.sha256


def test_a_kind_that_a_format_has_no_place_for_is_refused(source):
    with pytest.raises(Refused, match="The format Anthropic HH dialogues has no place for prompts"):
        snapshots.freeze(project=source, kind="prompts", format="hh")


def test_what_a_format_leaves_out_is_counted(source):
    snapshot = snapshots.freeze(project=source, kind="rankings", format="hh")
    manifest = json.loads((snapshots.folder_of(snapshot) / "manifest.json").read_text())
    assert {key: count for key, count in manifest["counts"].items() if key.startswith("left_out")} == {
        "left_out_chats": 1,
        "left_out_tied_pairs": 2,
        "left_out_unranked_responses": 1,
    }
