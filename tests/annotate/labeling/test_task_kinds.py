"""A further kind of task is one module with one TaskKind and one value of Task.Kind: all else reads the registry."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from annotate.errors import Refused
from annotate.forms.written import Demonstrate
from annotate.labeling import demonstrations, queue, task_kinds
from annotate.labeling.submissions import Submission
from annotate.labeling.task_kinds import MadeFrom, TaskKind, WrittenTurn
from annotate.models import Assignment, Demonstration, Judgment, JudgmentRevision, Project, Task
from tests.factories.cast import Cast, make_prompt
from tests.harness.markup import markup

pytestmark = pytest.mark.django_db


class Translation(Demonstrate):
    """One form may serve several kinds."""


def content(submission: Submission, assignment: Assignment) -> dict[str, Any]:
    given = task_kinds.content_fields(submission.content, required={"text"}, optional={"pairs"})
    if not given["text"].strip():
        raise Refused("Write the translation first.", status=400)
    return {"translation": given["text"].strip()}


def store(*, judgment: Judgment, revision: JudgmentRevision) -> None:
    demonstrations.demonstrate(assignment=judgment.assignment, text=revision.content["translation"])


TRANSLATE = TaskKind(
    name="translate",
    label="Translate a prompt",
    count_label=lambda count: "translation" if count == 1 else "translations",
    form=Translation,
    content=content,
    store=store,
    withdraw=demonstrations.withdraw,
    summary=lambda _judgment, revision: revision.content["translation"],
    texts=lambda revision: [WrittenTurn("assistant", "Translated", revision.content["translation"])],
    made_from=MadeFrom.PROMPTS,
    quotes_text=True,
)


@pytest.fixture
def translate() -> Iterator[TaskKind]:
    task_kinds.register(TRANSLATE)
    yield TRANSLATE
    task_kinds.unregister("translate")


def signed_in(cast: Cast, name: str) -> Client:
    client = Client()
    client.force_login(getattr(cast, name))
    return client


@pytest.fixture
def assignment(cast: Cast, translate: TaskKind) -> Assignment:
    """A translation that the manager had made, in the labeler's hands."""
    make_prompt(cast.project, "How do I boil an egg?")
    manager = signed_in(cast, "manager")
    manager.post("/p/kindness/tasks/kinds", {"task_kinds": ["compare", "translate"]})
    manager.post("/p/kindness/tasks/", {"kind": "translate", "count": "5", "judgments": "1", "instructions": ""})
    held = queue.claim_next(labeler=cast.labeler, project=Project.objects.get(pk=cast.project.pk))
    assert held is not None
    return held


def hand_in(cast: Cast, assignment: Assignment, text: str) -> Any:
    fields = {"client_id": str(uuid.uuid4()), "text": text, "seconds": "9"}
    return signed_in(cast, "labeler").post(f"/p/kindness/work/{assignment.pk}/submit", fields)


def test_a_manager_has_its_tasks_made(cast: Cast, assignment: Assignment) -> None:
    task = Task.objects.get()
    assert (task.kind, task.get_kind_display()) == ("translate", "Translate a prompt")
    task.full_clean(exclude=["gold_tiers"])
    page = signed_in(cast, "manager").get("/p/kindness/tasks/").content.decode()
    assert '<option value="translate">Translate a prompt</option>' in page
    assert 'id="kind-translate">Translate a prompt<' in page


def test_a_labeler_sees_how_many_wait_and_gets_its_form(cast: Cast, assignment: Assignment) -> None:
    labeler = signed_in(cast, "labeler")
    assert "<strong>1</strong>translation<" in markup(labeler.get("/"))
    page = labeler.get("/p/kindness/work/")
    assert isinstance(page.context["form"], Translation)
    assert "Translate a prompt (1)" in page.content.decode()


def test_what_is_handed_in_is_checked_stored_and_brings_its_outcome(cast: Cast, assignment: Assignment) -> None:
    refused = hand_in(cast, assignment, "  ")
    assert refused.status_code == 400
    assert "Write the translation first." in refused.content.decode()
    assert hand_in(cast, assignment, " Wie koche ich ein Ei? ").status_code == 302
    revision = JudgmentRevision.objects.get()
    assert revision.content == {"translation": "Wie koche ich ein Ei?"}
    assert Demonstration.objects.get(withdrawn_at=None).response.text == "Wie koche ich ein Ei?"


def test_an_order_is_refused_where_the_kind_has_none(cast: Cast, assignment: Assignment) -> None:
    submission = Submission(client_id=uuid.uuid4(), content={"text": "Ei"}, tiers=[[1]])
    with pytest.raises(Refused, match="Only comparisons have an order"):
        queue.submit(assignment_id=assignment.pk, labeler=cast.labeler, submission=submission)


def test_undo_withdraws_the_outcome(cast: Cast, assignment: Assignment) -> None:
    hand_in(cast, assignment, "Wie koche ich ein Ei?")
    assert signed_in(cast, "labeler").post(f"/p/kindness/work/{assignment.pk}/undo").status_code == 302
    assert not Demonstration.objects.filter(withdrawn_at=None).exists()


def test_a_reviewer_reads_it(cast: Cast, assignment: Assignment) -> None:
    hand_in(cast, assignment, "Wie koche ich ein Ei?")
    reviewer = signed_in(cast, "reviewer")
    listed = reviewer.get("/p/kindness/review/?kind=translate").content.decode()
    assert "Translate a prompt" in listed
    assert "Wie koche ich ein Ei?" in listed
    page = reviewer.get(f"/p/kindness/review/{Judgment.objects.get().pk}/").content.decode()
    assert "Translated" in page


def test_the_built_in_kinds_are_registered_in_the_order_of_pages() -> None:
    assert task_kinds.names()[:5] == ["compare", "demonstrate", "write_prompt", "rate", "chat"]
    assert task_kinds.names() == Task.Kind.values


def test_a_kind_that_is_not_registered_is_no_value_of_a_task(cast: Cast) -> None:
    task = Task(project=cast.project, prompt=make_prompt(cast.project), kind="translate")
    with pytest.raises(ValidationError, match="translate"):
        task.full_clean()


@pytest.mark.parametrize("name", ["", "a_name_of_13_c"])
def test_a_name_fits_its_column(name: str) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="1 to 12 characters"):
        task_kinds.register(replace(TRANSLATE, name=name))
