"""Projects that begin with a template or as a copy of another."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from annotate.errors import NotYours, Refused
from annotate.labeling import exam
from annotate.models import AuditEvent, Membership, Project, Task
from annotate.people.project_copies import copy_project
from annotate.people.project_templates import TEMPLATES
from annotate.people.projects import create_project, edit_project
from tests.factories.cast import Cast, make_comparison, make_user, response_ids

pytestmark = pytest.mark.django_db
CRITERIA = [{"name": "overall", "label": "Overall quality", "min": 1, "max": 7}]


@pytest.mark.parametrize("key", TEMPLATES)
@pytest.mark.parametrize(("language", "heading"), [("en", "# Which"), ("zh-hans", "# 哪")])
def test_a_template_opens_a_project_as_it_is(cast: Cast, client: Client, key: str, language: str, heading: str) -> None:
    client.force_login(cast.manager)
    headers = {"accept-language": language}
    page = client.get(f"/p/new/?template={key}", headers=headers)
    form = page.context["form"]
    values: dict[str, Any] = {name: form[name].value() for name in form.fields}
    posted = {name: value for name, value in values.items() if value not in (None, False)}
    assert client.post("/p/new/", posted | {"template": key}, headers=headers).status_code == 302
    made, template = Project.objects.latest("pk"), TEMPLATES[key]
    assert (made.responses_per_task, made.overlap) == (template.responses_per_task, template.overlap)
    assert made.task_kinds == list(template.task_kinds)
    assert made.language == language
    assert made.guidelines is not None
    assert made.guidelines.text.startswith(heading)
    assert made.rubric is not None
    assert [item["name"] for item in made.rubric.criteria] == [item["name"] for item in template.criteria]
    assert [item["name"] for item in made.rubric.flags] == [item["name"] for item in template.flags]


def test_labels_of_templates_are_translated() -> None:
    with translation.override("zh-hans"):
        assert [str(template.label) for template in TEMPLATES.values()] == [
            "有用性", "无害性", "摘要", "代码", "中英翻译"
        ]  # fmt: skip


@pytest.fixture
def with_exam(cast: Cast) -> Project:
    task = make_comparison(cast.project)
    Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
    exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager)
    make_comparison(cast.project, "Live?")
    return edit_project(
        project=cast.project, by=cast.manager, criteria=CRITERIA, exam_threshold=0.75, weekly_judgments=500, overlap=2
    )


class TestACopy:
    def test_has_settings_guidelines_and_rubric_and_nothing_else(self, cast: Cast, with_exam: Project) -> None:
        made = copy_project(project=with_exam, by=cast.manager, name="Again", exam=False, people=False)
        assert (made.slug, made.overlap, made.weekly_judgments, made.exam_threshold) == ("again", 2, 500, None)
        assert made.guidelines is not None
        assert made.guidelines.text == "Rank by **kindness**."
        assert made.rubric is not None
        assert made.rubric.criteria == CRITERIA
        assert not made.tasks.exists()
        assert not made.prompts.exists()
        assert [member.user for member in made.memberships.all()] == [cast.manager]
        assert AuditEvent.objects.filter(verb="project.copied", project=made, detail__of="kindness").count() == 1

    def test_has_the_exam_and_the_people_by_choice(self, cast: Cast, with_exam: Project) -> None:
        made = copy_project(project=with_exam, by=cast.manager, name="Again", exam=True, people=True)
        assert made.exam_threshold == 0.75
        item, original = made.tasks.get(), Task.objects.get(project=with_exam, state=Task.State.EXAM)
        assert (item.state, item.slots_free) == (Task.State.EXAM, 0)
        texts = dict(item.responses.values_list("pk", "text"))
        known = dict(original.responses.values_list("pk", "text"))
        assert [[texts[key] for key in tier] for tier in item.gold_tiers] == [
            [known[key] for key in tier] for tier in original.gold_tiers
        ]
        assert not set(texts) & set(known)
        roles = set(Membership.objects.filter(project=made).values_list("user__username", "role"))
        assert roles == set(Membership.objects.filter(project=with_exam).values_list("user__username", "role"))

    def test_takes_as_many_statements_for_many_people_and_items(
        self, cast: Cast, with_exam: Project, django_assert_num_queries: Any
    ) -> None:
        with CaptureQueriesContext(connection) as few:
            copy_project(project=with_exam, by=cast.manager, name="Few", exam=True, people=True)
        for number in range(8):
            task = make_comparison(with_exam, f"Question {number}?")
            Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
            exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager)
            Membership.objects.create(user=make_user(f"more{number}"), project=with_exam, role="labeler")
        with django_assert_num_queries(len(few)):
            made = copy_project(project=with_exam, by=cast.manager, name="Many", exam=True, people=True)
        assert (made.tasks.count(), made.prompts.count()) == (9, 9)
        assert made.memberships.count() == with_exam.memberships.count() == 13

    def test_is_a_managers_alone(self, cast: Cast) -> None:
        for person in (cast.researcher, cast.outsider):
            with pytest.raises(NotYours):
                copy_project(project=cast.project, by=person, name="Again", exam=True, people=True)
        with pytest.raises(Refused):
            copy_project(project=cast.project, by=cast.manager, name="x" * 200, exam=False, people=False)

    def test_is_made_on_the_settings_page(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.manager)
        assert 'value="Copy of Kindness"' in client.get("/p/kindness/settings/").content.decode()
        reply = client.post("/p/kindness/settings/copy", {"name": "Twice", "people": "on"})
        assert reply["Location"] == "/p/twice/settings/"
        refused = client.post("/p/kindness/settings/copy", {"name": ""})
        assert refused.status_code == 400
        assert create_project(by=cast.manager, name="Third").slug == "third"
