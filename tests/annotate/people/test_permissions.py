import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse

from annotate.models import AuditEvent, Membership, Project
from annotate.models.append_only import ImmutableRowError
from annotate.people.permissions import Capability, can, can_create_projects, projects_for, requires

GRANTED = {
    "labeler": {"view", "label"},
    "reviewer": {"view", "label", "review", "see_data"},
    "researcher": {"view", "see_data", "export", "train"},
    "manager": {"view", "label", "review", "see_data", "export", "train", "manage"},
    "admin": {"view", "label", "review", "see_data", "export", "train", "manage"},
    "outsider": set(),
}


@pytest.mark.parametrize("who", GRANTED)
def test_each_role_may_do_what_it_is_for(cast, who):
    user = getattr(cast, who)
    assert {capability for capability in Capability if can(user, capability, cast.project)} == GRANTED[who]
    for capability in Capability:
        reachable = cast.project in projects_for(user, capability)
        assert reachable == (capability in GRANTED[who])


def test_roles_add_up(cast):
    Membership.objects.create(user=cast.labeler, project=cast.project, role="researcher")
    assert can(cast.labeler, Capability.LABEL, cast.project)
    assert can(cast.labeler, Capability.EXPORT, cast.project)


def test_nobody_and_closed_accounts_may_do_nothing(cast):
    cast.manager.is_active = cast.admin.is_active = False
    for user in (AnonymousUser(), cast.manager, cast.admin):
        assert not can(user, Capability.VIEW, cast.project)
        assert not projects_for(user, Capability.VIEW).exists()
        assert not can_create_projects(user)


@requires(Capability.EXPORT)
def view(request, number):
    return HttpResponse(f"{request.project.slug} {number} {len(request.capabilities)}")


def get(rf, user, slug="kindness"):
    request = rf.get("/")
    request.user = user
    return view(request, slug, number=7)


def test_a_view_gets_its_project(cast, rf):
    assert get(rf, cast.researcher).content == b"kindness 7 4"


def test_a_member_without_the_capability_is_told_why(cast, rf):
    with pytest.raises(PermissionDenied, match="Only researchers and managers"):
        get(rf, cast.labeler)


def test_to_an_outsider_the_project_is_not_there(cast, rf):
    for slug in ("kindness", "nonesuch"):
        with pytest.raises(Http404) as there:
            get(rf, cast.outsider, slug)
        assert str(there.value) == "There is no such project, or you aren't a member of it."


def test_a_stranger_is_asked_to_sign_in(cast, rf):
    assert get(rf, AnonymousUser()).status_code == 302


def test_the_audit_log_cannot_be_rewritten(cast):
    event = AuditEvent.objects.first()
    event.verb = "nothing.happened"
    for rewrite in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(verb="x"),
    ):
        with pytest.raises(ImmutableRowError):
            rewrite()
    assert Project.objects.count() == 2
