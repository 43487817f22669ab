"""The people of all projects that somebody manages, on one page."""

import pytest
from django.test import Client

from annotate.models import Membership, Project
from annotate.people import people_list
from annotate.people.projects import create_project
from tests.factories.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def second(cast: Cast) -> Project:
    """The manager manages it too, and the labeler is a reviewer there as well."""
    project = create_project(by=cast.manager, name="Second")
    for role in ("labeler", "reviewer"):
        Membership.objects.create(project=project, user=cast.labeler, role=role)
    return project


def names(cast: Cast, **given: object) -> list[tuple[str, str]]:
    rows, _more = people_list.people(cast.manager, **given)  # type: ignore[arg-type]
    return [(row.membership.user.username, row.membership.project.slug) for row in rows]


def test_everybody_once_per_project_with_all_roles(cast: Cast, second: Project) -> None:
    found = names(cast)
    assert ("labeler", "kindness") in found
    assert ("labeler", "second") in found
    assert len(found) == len(set(found)) == 7
    assert not {"outsider"} & {name for name, _project in found}
    rows, more = people_list.people(cast.manager, search="LABELER", project="second")
    assert ([row.roles for row in rows], more) == ([["Labeler", "Reviewer"]], False)
    assert names(cast, role="reviewer") == [("labeler", "second"), ("reviewer", "kindness")]


def test_closed_and_foreign_projects_are_not_there(cast: Cast, second: Project) -> None:
    Project.objects.filter(pk=second.pk).update(archived_at=cast.project.created_at)
    assert {project for _name, project in names(cast)} == {"kindness"}
    keys = [f"{cast.other_project.pk}-{cast.outsider.pk}", "x", "1-", f"{cast.project.pk}-{cast.labeler.pk}"]
    assert [each.user for each in people_list.chosen(cast.manager, keys)] == [cast.labeler]


class TestThePage:
    @pytest.fixture
    def manager(self, cast: Cast, client: Client) -> Client:
        client.force_login(cast.manager)
        return client

    def test_pauses_limits_and_resumes_in_several_projects(self, cast: Cast, second: Project, manager: Client) -> None:
        chosen = {"person": [f"{project.pk}-{cast.labeler.pk}" for project in (cast.project, second)]}
        reply = manager.post("/people/?q=lab", {**chosen, "act": "pause", "reason": "The rubric changes."})
        assert reply["Location"] == "/people/?q=lab"
        paused = Membership.objects.exclude(paused_at=None)
        assert {(each.user, each.project) for each in paused} == {(cast.labeler, cast.project), (cast.labeler, second)}
        assert names(cast, paused=True) == [("labeler", "kindness"), ("labeler", "second")]
        assert "The rubric changes." in manager.get("/people/?state=paused").content.decode()
        manager.post("/people/", {**chosen, "act": "resume"})
        assert not paused.all().exists()
        manager.post("/people/", {**chosen, "act": "limit", "daily_limit": "40"})
        assert set(Membership.objects.filter(user=cast.labeler).values_list("daily_limit", flat=True)) == {40}

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"act": "resume"}, "Choose somebody first."),
            ({"act": "pause", "reason": " ", "person": "own"}, "Say why"),
            ({"act": "limit", "daily_limit": "many", "person": "own"}, "whole number"),
            ({"act": "limit", "daily_limit": "0", "person": "own"}, "from 1 to"),
            ({"act": "x", "person": "own"}, "Choose what to do."),
        ],
    )
    def test_says_what_is_wrong(self, cast: Cast, manager: Client, fields: dict[str, str], sentence: str) -> None:
        if "person" in fields:
            fields = {**fields, "person": f"{cast.project.pk}-{cast.labeler.pk}"}
        reply = manager.post("/people/", fields)
        assert reply.status_code == 400
        assert sentence in reply.content.decode()

    def test_is_for_managers(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.reviewer)
        assert client.get("/people/").status_code == 403
