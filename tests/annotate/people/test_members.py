import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client

from annotate.demo.demo_project import create as create_demo
from annotate.errors import NotYours, Refused
from annotate.forms.people import WorkRulesForm
from annotate.labeling import queue
from annotate.models import Assignment, AuditEvent, Author, Membership, Skill, User
from annotate.people import invitations, members
from tests.factories.cast import PASSWORD, Cast, make_cast, make_comparison, make_user


def test_an_administrator_makes_an_account_with_a_one_time_password(cast):
    user, password = members.add(
        project=cast.project, username="li.wei", role="labeler", by=cast.admin, full_name="Li Wei", language="zh-hans"
    )
    user.refresh_from_db()
    assert user.check_password(password)
    assert user.must_change_password
    assert (user.display_name, user.language) == ("Li Wei", "zh-hans")
    assert Membership.objects.get(user=user).role == "labeler"
    event = AuditEvent.objects.filter(verb="membership.created").first()
    assert (event.actor, event.project, event.detail) == (
        cast.admin,
        cast.project,
        {"person": user.pk, "role": "labeler"},
    )
    assert password not in str(AuditEvent.objects.values_list("detail", flat=True))


def test_somebody_with_an_account_gets_the_role_and_keeps_the_password(cast):
    user, password = members.add(project=cast.project, username="OUTSIDER", role="reviewer", by=cast.admin)
    assert user == cast.outsider
    assert password is None
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize(
    ("username", "role", "reason"),
    [
        ("labeler", "labeler", "already"),
        ("new", "owner", "no role"),
        ("", "labeler", "blank"),
        ("two words", "labeler", "valid username"),
        ("x" * 200, "labeler", "150"),
    ],
)
def test_a_wrong_account_says_why_and_is_not_made(cast, username, role, reason):
    before = User.objects.count()
    with pytest.raises(Refused, match=reason):
        members.add(project=cast.project, username=username, role=role, by=cast.admin)
    assert User.objects.count() == before


@pytest.mark.parametrize("who", ["outsider", "labeler", "reviewer", "researcher"])
def test_only_managers_deal_with_people(cast, who):
    by = getattr(cast, who)
    with pytest.raises(NotYours):
        members.add(project=cast.project, username="friend", role="manager", by=by)
    with pytest.raises(NotYours):
        members.reset_password(user=cast.second_labeler, project=cast.project, by=by)
    with pytest.raises(NotYours):
        members.remove_role(user=cast.second_labeler, project=cast.project, role="labeler", by=by)


def test_a_reset_password_is_new_and_must_be_changed(cast):
    password = members.reset_password(user=cast.labeler, project=cast.project, by=cast.admin)
    cast.labeler.refresh_from_db()
    assert cast.labeler.check_password(password)
    assert cast.labeler.must_change_password
    assert not cast.labeler.check_password(PASSWORD)
    assert AuditEvent.objects.filter(verb="password.reset", subject_id=str(cast.labeler.pk)).exists()


def test_a_manager_gets_no_way_into_an_account_that_was_somebodys(cast):
    """Removed elsewhere and added here, an account reaches no further than the manager does, and is still another's."""
    stray = make_user("stray")
    Membership.objects.create(user=stray, project=cast.project, role="labeler")
    Membership.objects.create(user=cast.admin, project=cast.project, role="labeler")
    for user in (stray, cast.labeler, cast.admin):
        with pytest.raises(NotYours, match="administrator"):
            members.reset_password(user=user, project=cast.project, by=cast.manager)
        user.refresh_from_db()
        assert user.check_password(PASSWORD)
    with pytest.raises(Refused, match="isn't a member"):
        members.reset_password(user=cast.outsider, project=cast.project, by=cast.manager)


def test_whoever_made_an_account_gives_another_password_until_it_was_signed_in_to(cast):
    user, _ = members.add(project=cast.project, username="nora", role="labeler", by=cast.admin)
    assert user.created_by == cast.admin
    User.objects.filter(pk=user.pk).update(created_by=cast.manager)
    user.refresh_from_db()
    password = members.reset_password(user=user, project=cast.project, by=cast.manager)
    assert user.check_password(password)
    Client().login(username="nora", password=password)
    user.refresh_from_db()
    with pytest.raises(NotYours):
        members.reset_password(user=user, project=cast.project, by=cast.manager)


@pytest.mark.django_db(transaction=True)
def test_no_password_is_hashed_within_a_transaction(monkeypatch, settings, client):
    """It takes a good part of a second, for which SQLite's one write lock would be held."""
    cast, in_transaction = make_cast(), []
    encode = PBKDF2PasswordHasher.encode

    def noted(hasher, password, salt, iterations=None):
        in_transaction.append(connection.in_atomic_block)
        return encode(hasher, password, salt, 1)

    settings.PASSWORD_HASHERS = ["config.security.password_hashing.BoundedPBKDF2PasswordHasher"]
    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", noted)
    members.add(project=cast.project, username="nora", role="labeler", by=cast.admin)
    members.reset_password(user=cast.labeler, project=cast.project, by=cast.admin)
    _, token = invitations.invite(project=cast.project, by=cast.manager, roles=["labeler"])
    invitations.open_account(token=token, username="ben", password="a door of one's own")
    assert in_transaction == [False] * 3

    client.force_login(cast.admin)
    chosen = {"username": "kim", "usable_password": "true"}
    for page, fields in (
        ("/admin/annotate/user/add/", chosen | {"password1": PASSWORD, "password2": PASSWORD}),
        (f"/admin/annotate/user/{cast.labeler.pk}/password/", {"password1": PASSWORD, "password2": PASSWORD}),
    ):
        assert client.post(page, fields).status_code == 302
    assert User.objects.get(username="kim").check_password(PASSWORD)

    User.objects.filter(username="manager").update(username="somebody")
    create_demo(responses=None)
    assert len(in_transaction) > 8
    assert True not in in_transaction


def test_an_account_of_the_administration_may_have_no_password(cast, client):
    client.force_login(cast.admin)
    fields = {"username": "kim", "usable_password": "false", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post("/admin/annotate/user/add/", fields).status_code == 302
    assert not User.objects.get(username="kim").has_usable_password()


def test_a_name_that_is_taken_meanwhile_is_said(cast, monkeypatch):
    make = members.give_one_time_password

    def made_meanwhile(user):
        make_user("Nora")
        return make(user)

    monkeypatch.setattr(members, "give_one_time_password", made_meanwhile)
    with pytest.raises(Refused, match="Somebody has this user name already"):
        members.add(project=cast.project, username="nora", role="labeler", by=cast.admin)
    assert not Membership.objects.filter(user__username__iexact="nora").exists()


@pytest.mark.parametrize("who", ["manager", "labeler"])
def test_only_administrators_make_accounts(cast, who):
    with pytest.raises(NotYours):
        members.add(project=cast.project, username="friend", role="labeler", by=getattr(cast, who))
    assert not User.objects.filter(username="friend").exists()


def test_nobody_resets_his_own_password_or_a_closed_account(cast):
    with pytest.raises(Refused, match="account page"):
        members.reset_password(user=cast.manager, project=cast.project, by=cast.manager)
    closed = make_user("closed", is_active=False)
    Membership.objects.create(user=closed, project=cast.project, role="labeler")
    with pytest.raises(Refused, match="closed"):
        members.reset_password(user=closed, project=cast.project, by=cast.manager)


def test_a_labeler_who_is_removed_gives_his_tasks_back(cast: Cast):
    task = make_comparison(cast.project)
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    members.remove_role(user=cast.labeler, project=cast.project, role="labeler", by=cast.manager)
    assignment.refresh_from_db()
    assert assignment.state == Assignment.State.EXPIRED
    assert queue.claim_next(labeler=cast.second_labeler, project=cast.project).task == task
    with pytest.raises(Refused, match="doesn't have this role"):
        members.remove_role(user=cast.labeler, project=cast.project, role="labeler", by=cast.manager)


def test_a_manager_with_a_closed_account_does_not_count(cast: Cast) -> None:
    closed = make_user("closed", is_active=False)
    Membership.objects.create(user=closed, project=cast.project, role=Membership.Role.MANAGER)
    with pytest.raises(Refused, match="needs a manager"):
        members.remove_role(user=cast.manager, project=cast.project, role="manager", by=cast.manager)
    members.remove_role(user=closed, project=cast.project, role="manager", by=cast.manager)


def test_the_last_manager_stays(cast):
    with pytest.raises(Refused, match="needs a manager"):
        members.remove_role(user=cast.manager, project=cast.project, role="manager", by=cast.manager)
    members.add(project=cast.project, username="reviewer", role="manager", by=cast.admin)
    members.remove_role(user=cast.manager, project=cast.project, role="manager", by=cast.manager)
    assert not Membership.objects.filter(user=cast.manager).exists()


def test_a_person_signs_with_one_author(cast):
    assert Author.of(cast.labeler) == Author.of(cast.labeler)
    assert Author.objects.get(user=cast.labeler).kind == Author.Kind.PERSON


def test_fields_of_many_members_are_those_of_each_form(cast: Cast) -> None:
    skill = Skill.objects.create(project=cast.project, name='"><script>law</script>, & more')
    memberships = list(cast.project.memberships.order_by("pk"))
    memberships[0].daily_limit, memberships[0].languages = 1_234, ["zh", "pt-br"]
    memberships[1].skills.add(skill)
    rendered = [str(fields).replace(' value=""', "") for fields in WorkRulesForm.fields_of(memberships)]
    assert rendered == [
        render_to_string("annotate/form_fields.html", {"form": WorkRulesForm.of(membership)})
        for membership in memberships
    ]
    assert 'value="1234"' in rendered[0]
    assert "&quot;&gt;&lt;script&gt;law" in rendered[1]
