import pytest

from annotate.errors import NotYours, Refused
from annotate.models import AuditEvent, Membership, Project
from annotate.people.projects import create_project, edit_project

CRITERIA = [{"name": "overall", "label": "Overall", "min": 1, "max": 7, "help": "All in all"}]
FLAGS = [{"name": "hallucination", "label": "Makes things up"}]


def test_who_opens_a_project_manages_it(cast):
    project = create_project(by=cast.manager, name="Second try", guidelines="Read.", criteria=CRITERIA, flags=FLAGS)
    assert project.slug == "second-try"
    assert Membership.objects.get(project=project).user == cast.manager
    assert (project.guidelines.text, project.guidelines.version) == ("Read.", 1)
    assert (project.rubric.criteria, project.rubric.flags) == (CRITERIA, FLAGS)
    assert AuditEvent.objects.filter(verb="project.created", project=project, actor=cast.manager).exists()


@pytest.mark.parametrize("who", ["labeler", "reviewer", "researcher"])
def test_others_open_none(cast, who):
    with pytest.raises(NotYours):
        create_project(by=getattr(cast, who), name="Mine")


def test_names_may_repeat_but_addresses_do_not(cast):
    slugs = [create_project(by=cast.manager, name=name).slug for name in ("Kindness", "Kindness", "友善", "友善")]
    assert slugs == ["kindness-2", "kindness-3", "project", "project-2"]
    with pytest.raises(Refused, match="already"):
        create_project(by=cast.manager, name="Any", slug="kindness")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"responses_per_task": 1}, "Responses per task"),
        ({"responses_per_task": 10}, "Responses per task"),
        ({"overlap": 0}, "Judgments a task"),
        ({"gold_rate": 1.5}, "shares from 0 to 1"),
        ({"name": ""}, "Name"),
        ({"task_kinds": []}, "kinds of task"),
        ({"task_kinds": ["compare", "sing"]}, "kinds of task"),
        ({"colour": "red"}, "no setting 'colour'"),
        ({"guidelines": "a\0b"}, "NUL"),
        ({"criteria": "overall"}, "lists each criterion"),
        ({"criteria": [{"name": "Overall!", "label": "x", "min": 1, "max": 7}]}, "small letters"),
        ({"criteria": [{"name": "overall", "label": "Overall", "min": 7, "max": 1}]}, "scale of Overall"),
        ({"criteria": [{"name": "overall", "label": "", "min": 1, "max": 7}]}, "needs a label"),
        ({"criteria": CRITERIA * 2}, "twice"),
        ({"flags": [{"name": "bad", "label": "Bad", "colour": "red"}]}, "unknown field 'colour'"),
        ({"flags": [{"name": f"f{n}", "label": "x"} for n in range(21)]}, "at most 20"),
    ],
)
def test_a_wrong_value_is_refused_and_nothing_changes(cast, changes, reason):
    with pytest.raises(Refused, match=reason):
        edit_project(project=cast.project, by=cast.manager, description="Changed", **changes)
    assert Project.objects.get(pk=cast.project.pk).description == ""
    assert not AuditEvent.objects.filter(verb="project.edited").exists()


def test_only_managers_edit(cast):
    for who in (cast.outsider, cast.labeler, cast.reviewer, cast.researcher):
        with pytest.raises(NotYours):
            edit_project(project=cast.project, by=who, name="Mine now")


def test_versions_are_made_only_when_something_changed(cast):
    project = edit_project(
        project=cast.project, by=cast.manager, guidelines="Rank by **kindness**.", criteria=[], flags=[]
    )
    assert (project.guidelines.version, project.rubric.version) == (1, 1)
    project = edit_project(project=cast.project, by=cast.manager, guidelines="Be quick.\r\nBe fair.", flags=FLAGS)
    assert (project.guidelines.version, project.rubric.version) == (2, 2)
    assert project.guidelines.text == "Be quick.\nBe fair."
    assert project.guidelines.created_by == cast.manager
    assert project.guidelines_versions.get(version=1).text == "Rank by **kindness**."


def test_a_change_is_in_the_audit_log_with_before_and_after(cast):
    edit_project(project=cast.project, by=cast.manager, name="Warmth", language="en", overlap=3)
    event = AuditEvent.objects.get(verb="project.edited")
    assert event.detail == {"changes": {"name": ["Kindness", "Warmth"], "overlap": [1, 3]}}
    edit_project(project=cast.project, by=cast.manager, name="Warmth")
    assert AuditEvent.objects.filter(verb="project.edited").count() == 1
