"""Snapshots of rankings weighted by reliability, or reduced to a consensus per task."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.core.management import call_command

from annotate.data import snapshots
from annotate.data.imports import import_file
from annotate.errors import Refused
from annotate.models import LabelerReliability, Snapshot, Task, TaskConsensus, User
from annotate.people.projects import edit_project
from annotate.quality import consensus
from models_core.contract.rows import row_parser
from tests.annotate.quality.test_consensus import judged
from tests.factories.cast import Cast, make_comparison, make_user

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def data_folder(settings: Any, tmp_path: Any) -> None:
    settings.HONE_DATA = tmp_path


@pytest.fixture
def third(cast: Cast) -> User:
    person = make_user("third")
    cast.project.memberships.create(user=person, role="labeler")
    cast.project.overlap = 3
    cast.project.save()
    return person


@pytest.fixture
def tasks(cast: Cast, third: User) -> list[Task]:
    """Two labelers agree twelve times, and the third says the reverse; one more has two judgments that differ."""
    made = [make_comparison(cast.project, f"Question {n}?", ("One.", "Two.")) for n in range(13)]
    for task in made[:12]:
        judged(task, cast.labeler, "A > B", margin=2)
        judged(task, cast.second_labeler, "A > B", margin=3)
        judged(task, third, "B > A", margin=0)
    judged(made[12], cast.labeler, "A > B")
    judged(made[12], third, "B > A")
    return made


def freeze(cast: Cast, **options: Any) -> Snapshot:
    return snapshots.freeze(**{"project": cast.project, "kind": "rankings", "by": cast.manager, **options})


def read(snapshot: Snapshot) -> Rows:
    return [
        json.loads(line)
        for split in ("train", "validation", "test")
        for line in snapshots.data_file(snapshot, split).read_text(encoding="utf-8").splitlines()
    ]


def manifest(snapshot: Snapshot) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((snapshots.folder_of(snapshot) / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_raw_judgments_have_no_weight(cast: Cast, tasks: list[Task]) -> None:
    snapshot = freeze(cast)
    assert not any("weight" in row for row in read(snapshot))
    assert manifest(snapshot)["aggregation"] == {"mode": "raw"}


def test_weights_follow_the_reliabilities_and_have_the_mean_one(cast: Cast, third: User, tasks: list[Task]) -> None:
    snapshot = freeze(cast, aggregation="weighted")
    rows = read(snapshot)
    assert len(rows) == 38
    assert fmean(row["weight"] for row in rows) == pytest.approx(1.0, abs=1e-5)
    by_labeler = {row["labeler"]: row["weight"] for row in rows}
    names = {user: cast.project.pseudonym(user.pk) for user in (cast.labeler, cast.second_labeler, third)}
    assert by_labeler[names[third]] == 0.0
    described = manifest(snapshot)["aggregation"]
    assert described["mode"] == "weighted"
    of = described["reliability"]
    assert of[names[cast.labeler]]["weight"] == pytest.approx(2 * of[names[cast.labeler]]["reliability"] - 1, abs=1e-5)
    ratio = by_labeler[names[cast.labeler]] / by_labeler[names[cast.second_labeler]]
    assert ratio == pytest.approx(
        of[names[cast.labeler]]["weight"] / of[names[cast.second_labeler]]["weight"], rel=1e-4
    )
    # What training reads is the same file.
    path = snapshots.data_file(snapshot, "train")
    assert {ranking.weight for ranking in row_parser.read(path, "rankings")} <= {row["weight"] for row in rows}


def test_the_reliabilities_are_those_that_the_job_stores(cast: Cast, tasks: list[Task]) -> None:
    of = manifest(freeze(cast, aggregation="weighted"))["aggregation"]["reliability"]
    consensus.refresh_due()
    stored = {cast.project.pseudonym(row.labeler_id): row.reliability for row in LabelerReliability.objects.all()}
    assert {name: values["reliability"] for name, values in of.items()} == pytest.approx(stored, abs=1e-6)


def test_a_consensus_is_a_row_a_task(cast: Cast, tasks: list[Task]) -> None:
    snapshot = freeze(cast, aggregation="consensus")
    rows = {row["task"]: row for row in read(snapshot)}
    assert (len(rows), snapshot.rows) == (13, 13)
    row = rows[f"task-{tasks[0].pk}"]
    assert [(item["text"], item["rank"]) for item in row["responses"]] == [("One.", 1), ("Two.", 2)]
    assert (row["id"], row["judgments"], row["judge"], "labeler" in row) == (
        f"consensus-{tasks[0].pk}", 3, "human", False,
    )  # fmt: skip
    assert row["margin"] == 2  # the mean of 2 and 3, to the even one; who ordered otherwise has no part in it
    assert fmean(row["weight"] for row in rows.values()) == pytest.approx(1.0, abs=1e-5)
    mean = fmean(row["confidence"] for row in rows.values())
    assert row["weight"] == pytest.approx(row["confidence"] / mean, abs=1e-4)
    assert manifest(snapshot)["aggregation"]["method"] == "crowd_bt"
    split = rows[f"task-{tasks[12].pk}"]
    assert [item["rank"] for item in split["responses"]] == [1, 2]  # who is reliable is believed
    edit_project(project=cast.project, by=cast.manager, consensus_method="majority")
    by_majority = {row["task"]: row for row in read(freeze(cast, aggregation="consensus"))}
    assert [item["rank"] for item in by_majority[f"task-{tasks[12].pk}"]["responses"]] == [1, 1]


def test_ties_are_left_out_where_they_are_not_wanted(cast: Cast, tasks: list[Task]) -> None:
    edit_project(project=cast.project, by=cast.manager, consensus_method="majority")
    rows = read(freeze(cast, aggregation="consensus", tie_policy="drop"))
    assert len(rows) == 12
    assert fmean(row["weight"] for row in rows) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("aggregation", ["weighted", "consensus"])
def test_equal_data_gives_equal_bytes_whatever_is_stored(cast: Cast, tasks: list[Task], aggregation: str) -> None:
    first = freeze(cast, aggregation=aggregation)
    consensus.refresh_due()
    LabelerReliability.objects.update(reliability=0.51)
    assert freeze(cast, aggregation=aggregation).sha256 == first.sha256


def test_parquet_has_weights_and_confidence_and_trl_has_none(cast: Cast, tasks: list[Task]) -> None:
    snapshot = freeze(cast, aggregation="consensus", format="parquet")
    table = pq.read_table(snapshots.data_file(snapshot, "train"))
    assert set(table.column("judgments").to_pylist()) <= {2, 3}
    assert all(0 < confidence < 1 for confidence in table.column("confidence").to_pylist())
    with pytest.raises(Refused, match="TRL pairs has no place for weights"):
        freeze(cast, aggregation="weighted", format="trl")


def test_weights_that_sum_to_nothing_are_refused(cast: Cast, tmp_path: Path) -> None:
    row = {
        "prompt": [{"role": "user", "content": "Why?"}],
        "responses": [{"text": "One.", "rank": 1}, {"text": "Two.", "rank": 2}],
        "labeler": "anna",
        "weight": 0,
    }
    path = tmp_path / "rankings.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    import_file(project=cast.project, path=path, by=cast.manager)
    assert freeze(cast).rows == 1
    with pytest.raises(Refused, match="The weights of these judgments sum to 0, so nothing can be learned from them"):
        freeze(cast, aggregation="weighted")


def test_imported_judgments_have_a_consensus(cast: Cast, tmp_path: Path) -> None:
    """Three labelers of one file and task, one of whom weighs double."""
    responses = [[{"text": "One.", "rank": rank}, {"text": "Two.", "rank": 3 - rank}] for rank in (1, 1, 2)]
    rows = [
        {
            "prompt": [{"role": "user", "content": "Why?"}],
            "task": "t1",
            "responses": given,
            "labeler": name,
            "weight": weight,
        }
        for given, name, weight in zip(responses, ("anna", "ben", "cleo"), (2, 1, 1), strict=True)
    ]
    path = tmp_path / "rankings.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    import_file(project=cast.project, path=path, by=cast.manager)
    assert consensus.refresh_due() == 1
    stored = TaskConsensus.objects.get()
    assert (len(stored.tiers), stored.judgments) == (2, 3)
    weights = {row["labeler"]: row["weight"] for row in read(freeze(cast, aggregation="weighted"))}
    assert sorted(weights.values())[-1] == pytest.approx(2 * sorted(weights.values())[-2], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"aggregation": "median"}, "The aggregation of a snapshot is one of raw, weighted, consensus."),
        ({"aggregation": "weighted", "kind": "prompts"}, "Only rankings are weighted or reduced to a consensus."),
    ],
)
def test_what_makes_no_sense_is_refused(cast: Cast, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        freeze(cast, **options)


def test_the_command_takes_it(cast: Cast, tasks: list[Task], tmp_path: Any) -> None:
    out = tmp_path / "out.jsonl"
    call_command("export_data", cast.project.slug, format="hone", out=str(out), aggregation="consensus")
    assert len(out.read_text().splitlines()) == 13
