"""A project's own exports imported again: into the same project they change nothing."""

import json
from collections import Counter
from pathlib import Path

import pytest
from django.core.management import call_command

from annotate.data.imports import ImportReport, import_file
from annotate.labeling import queue
from annotate.labeling.chats import turns
from annotate.models import (
    Author,
    Demonstration,
    Judgment,
    JudgmentRevision,
    Prompt,
    Response,
    ResponseRequest,
    Rubric,
    Task,
    User,
)
from annotate.people.projects import create_project, edit_project
from models_core.contract.rows import json_lines
from tests.factories.cast import Cast, hand_in, judge, make_comparison, make_prompt, make_responses, response_ids

KINDS = ("prompts", "demonstrations", "rankings", "ratings")
MODELS = (Prompt, Response, Demonstration, Task, Judgment, JudgmentRevision, Author, User)


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path):
    settings.HONE_DATA = tmp_path / "var"


def claim(cast: Cast, labeler: User, kind: str):
    edit_project(project=cast.project, by=cast.manager, task_kinds=[kind])
    cast.project.refresh_from_db()
    held = queue.claim_next(labeler=labeler, project=cast.project)
    assert held is not None
    return held


@pytest.fixture
def worked(cast: Cast, tmp_path: Path) -> Cast:
    """Every kind of work done here by people with accounts, and beside it what a file of others brought."""
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    cast.project.refresh_from_db()
    a, b, c, d = response_ids(make_comparison(cast.project))
    improved = {"improved": {"response": b, "text": "Slowly, in water."}}
    judge(claim(cast, cast.labeler, "compare"), [[b], [a, c]], content=improved, comment="Hm.")
    second = judge(claim(cast, cast.second_labeler, "compare"), [[a], [b], [c], [d]])
    judge(second.judgment.assignment, [[b], [a], [c], [d]])  # thought again

    criteria = [{"name": "help", "label": "Help", "min": 1, "max": 7}]
    Rubric.objects.create(project=cast.project, version=99, criteria=criteria)
    rated = make_prompt(cast.project, "Name a fruit.")
    (response,) = make_responses(rated, "An apple.")
    task = Task.objects.create(project=cast.project, kind="rate", prompt=rated)
    task.task_responses.create(response=response, number=0)
    hand_in(claim(cast, cast.labeler, "rate"), ratings={str(response.pk): {"help": 4}})

    Task.objects.create(project=cast.project, kind="demonstrate", prompt=make_prompt(cast.project, "Name a stone."))
    hand_in(claim(cast, cast.labeler, "demonstrate"), content={"text": "Granite."})

    Task.objects.create(project=cast.project, kind="chat", prompt=make_prompt(cast.project, "Hello."))
    held = claim(cast, cast.second_labeler, "chat")
    action = {"assignment_id": held.pk, "labeler": cast.second_labeler}
    request = turns.ask(**action, after=0).request
    assert request is not None
    request.responses.set(make_responses(request.prompt, "Hi.", "Good day."))
    ResponseRequest.objects.filter(pk=request.pk).update(state=ResponseRequest.State.FULFILLED)
    turns.pick(**action, response_id=turns.Chat.of(held).candidates[0].pk, after=0)
    turns.say(**action, written="And you?", after=1)
    turns.write(**action, written="Well.", after=2)
    hand_in(held)

    ranked = [{"text": "Rain.", "rank": 1, "model": "m"}, {"text": "Snow.", "rank": 2, "model": "n"}]
    rows = [
        {"id": "w1", "prompt": "Weather?", "responses": ranked, "labeler": "Ann", "task": "w"},
        {"id": "w2", "prompt": "Weather?", "responses": ranked, "labeler": "Bob", "task": "w"},
        {"id": "w3", "prompt": "Weather?", "responses": ranked, "judge": "gpt-4"},
        {"id": "w4", "prompt": "Season?", "response": "Spring.", "origin": "human", "author": "Ann"},
    ]
    path = tmp_path / "others.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_file(project=cast.project, path=path, by=None)
    return cast


def exported(tmp_path: Path, format: str, slug: str = "kindness") -> dict[str, Path]:
    suffix = {"parquet": "parquet"}.get(format, "jsonl")
    paths = {kind: tmp_path / f"{slug}-{kind}.{suffix}" for kind in KINDS}
    for kind, path in paths.items():
        call_command("export_data", slug, "--format", format, "--kind", kind, "--comments", "--out", str(path))
    return paths


def lines(paths: dict[str, Path]) -> dict[str, list[str]]:
    return {kind: json_lines.parts(path.read_text()) for kind, path in paths.items()}


def nothing_new(report: ImportReport) -> bool:
    return not report.errors and not any(report.created.values()) and report.duplicates == report.read


@pytest.mark.parametrize("format", ["hone", "parquet", "trl"])
def test_into_the_same_project_they_change_nothing(worked, tmp_path, format):
    paths = exported(tmp_path, format)
    before = {model: model.objects.count() for model in MODELS}
    said = lines(exported(tmp_path / "before", "hone"))
    for path in paths.values():
        report = import_file(project=worked.project, path=path, by=worked.manager)
        assert nothing_new(report), report.summary
        assert report.not_kept == Counter(), report.summary
    assert {model: model.objects.count() for model in MODELS} == before
    assert lines(exported(tmp_path / "after", "hone")) == said


def without_numbers(paths: dict[str, Path]) -> list[tuple[str, dict]]:
    numbers = ("id", "source_id", "prompt_id", "task")
    rows = [(kind, json.loads(line)) for kind, found in lines(paths).items() for line in found]
    plain = [(kind, {key: value for key, value in row.items() if key not in numbers}) for kind, row in rows]
    return sorted(plain, key=lambda item: json.dumps(item, sort_keys=True))


def test_into_another_project_they_are_the_same_records(worked, tmp_path):
    """What was said of a text and by whom, on the same side of the split, under the same names."""
    fresh = create_project(by=worked.admin, name="Fresh")
    here = exported(tmp_path, "hone")
    for path in here.values():
        assert import_file(project=fresh, path=path, by=None).errors == ()
    assert without_numbers(exported(tmp_path / "there", "hone", "fresh")) == without_numbers(here)
    people = {"labeler", "second_labeler"}
    assert not User.objects.filter(username__in=people, judgments__project=fresh).exists()


def test_through_another_project_and_back_they_change_nothing(worked, tmp_path):
    fresh = create_project(by=worked.admin, name="Fresh")
    for path in exported(tmp_path, "hone").values():
        assert import_file(project=fresh, path=path, by=None).errors == ()
    back = exported(tmp_path / "back", "hone", "fresh")
    for path in back.values():
        report = import_file(project=worked.project, path=path, by=worked.manager)
        assert nothing_new(report), report.summary
        assert report.not_kept == Counter(), report.summary
    # And the other project knows its own again.
    for path in back.values():
        assert nothing_new(import_file(project=fresh, path=path, by=None))


def test_an_older_export_does_not_bring_back_what_was_withdrawn_or_revised(worked, tmp_path):
    paths = exported(tmp_path, "hone")
    compared = Judgment.objects.get(task__kind="compare", labeler=worked.labeler)
    responses = response_ids(compared.task)
    judge(compared.assignment, [[responses[3]], [responses[0]]])
    written = Judgment.objects.get(task__kind="demonstrate")
    queue.withdraw(assignment_id=written.assignment_id, labeler=worked.labeler, draft={})
    before = {model: model.objects.count() for model in MODELS}
    rankings = import_file(project=worked.project, path=paths["rankings"], by=worked.manager)
    demonstrations = import_file(project=worked.project, path=paths["demonstrations"], by=worked.manager)
    assert {model: model.objects.count() for model in MODELS} == before
    assert rankings.not_kept["revision", "the judgment is here in another"] == 1
    # The improved response went with the revision; so did its edit.
    assert rankings.not_kept["responses", "the judgment was withdrawn here"] == 1
    assert demonstrations.not_kept["response", "the response was withdrawn here"] == 2


def test_an_order_that_was_edited_in_the_file_is_named(worked, tmp_path):
    """The judgment here stays as it is: nobody is claimed to have thought again."""
    path = exported(tmp_path, "hone")["rankings"]
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    judged = [row for row in rows if row["id"].startswith("judgment-")]
    for row in judged:
        ranked = sorted((item for item in row["responses"] if item["rank"]), key=lambda item: item["rank"])
        ranked[0]["rank"], ranked[-1]["rank"] = ranked[-1]["rank"], ranked[0]["rank"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = {model: model.objects.count() for model in MODELS}
    report = import_file(project=worked.project, path=path, by=worked.manager)
    assert report.not_kept == {("responses", "the judgment is here with another order"): len(judged)}
    assert {model: model.objects.count() for model in MODELS} == before


def test_another_project_with_the_same_numbers_gets_every_row(worked, tmp_path):
    """A number alone is no identity: the other project's judgment of that number is of other people and texts."""
    path = exported(tmp_path, "hone")["rankings"]
    rows = [json.loads(line) for line in json_lines.parts(path.read_text())]
    for row in rows:
        row["labeler"] = "labeler-0000000000"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert import_file(project=worked.project, path=path, by=None).created["judgments"] == len(rows)
