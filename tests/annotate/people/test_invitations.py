"""Invitations bring people in, and tell a manager nothing about who has an account."""

import io
import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.module_loading import import_string

from annotate.errors import NotYours, Refused
from annotate.models import AuditEvent, Invitation, Membership, User
from annotate.people import invitations, members
from tests.factories.cast import PASSWORD, Cast, make_user

OWN = "a door of one's own"
NEW = {"username": "nora", "full_name": "Nora Berg", "password": OWN, "again": OWN}


@pytest.fixture
def manager(cast: Cast, client: Client) -> Client:
    client.force_login(cast.manager)
    return client


def invite(manager: Client, **fields: Any) -> str:
    """The path of the new link."""
    reply = manager.post("/p/kindness/people/", {"roles": ["labeler"], **fields})
    assert reply.status_code == 200
    found = re.search(r'class="code">http://testserver(/invitation/[\w-]+/)<', reply.content.decode())
    assert found is not None
    return found[1]


def roles(user: User) -> list[str]:
    return sorted(Membership.objects.filter(user=user).values_list("role", flat=True))


def bare(reply: Any) -> str:
    """A page without the tokens that are new on each."""
    page = re.sub(r'(csrfmiddlewaretoken" value="|X-CSRFToken": ")[^"]+', r"\1", reply.content.decode())
    return re.sub(r"invitation/[\w-]{20,}", "invitation/", re.sub(r"invitations/\d+", "invitations/", page))


class TestAManager:
    def test_gets_a_link_once(self, cast: Cast, manager: Client) -> None:
        path = invite(manager, label="Nora from the lab", roles=["labeler", "reviewer"])
        again = manager.get("/p/kindness/people/").content.decode()
        assert path not in again
        assert "Nora from the lab" in again
        invitation = Invitation.objects.get()
        assert invitation.roles == ["labeler", "reviewer"]
        assert path.split("/")[2] not in str(Invitation.objects.values())
        event = AuditEvent.objects.get(verb="invitation.created")
        assert (event.actor, event.project) == (cast.manager, cast.project)

    def test_learns_nothing_of_who_has_an_account(self, cast: Cast, manager: Client) -> None:
        make_user("li.wei", first_name="Li", last_name="Wei")
        said = []
        for name in ("li.wei", "nobody.here"):
            for fields in ({"username": name, "role": "labeler"}, {"label": name, "roles": "labeler"}):
                reply = manager.post("/p/kindness/people/", fields)
                said.append((reply.status_code, bare(reply).replace(name, "NAME")))
                Invitation.objects.all().delete()
        assert said[0] == said[2]
        assert said[1] == said[3]
        assert "Li Wei" not in "".join(page for _status, page in said)

    def test_withdraws_it(self, manager: Client) -> None:
        path = invite(manager, label="Nora")
        number = Invitation.objects.get().pk
        for _ in range(2):
            assert manager.post(f"/p/kindness/people/invitations/{number}").status_code == 302
        assert Client().get(path).status_code == 404
        assert Client().post(path, NEW).status_code == 404
        assert not User.objects.filter(username="nora").exists()
        assert AuditEvent.objects.filter(verb="invitation.withdrawn").count() == 1
        assert "Open invitations" not in manager.get("/p/kindness/people/").content.decode()

    @pytest.mark.parametrize(
        ("fields", "sentence"), [({"roles": []}, "at least one role"), ({"roles": "king"}, "king")]
    )
    def test_is_told_what_is_wrong(self, manager: Client, fields: dict[str, Any], sentence: str) -> None:
        reply = manager.post("/p/kindness/people/", {"label": "x", **fields})
        assert reply.status_code == 400
        assert sentence in reply.content.decode()
        assert not Invitation.objects.exists()

    def test_has_so_many_open_and_no_more(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(invitations, "MOST_OPEN", 2)
        for _ in range(2):
            invitations.invite(project=cast.project, by=cast.manager, roles=["labeler"])
        with pytest.raises(Refused, match="2 invitations are open"):
            invitations.invite(project=cast.project, by=cast.manager, roles=["labeler"])

    @pytest.mark.parametrize("who", ["outsider", "labeler", "reviewer", "researcher"])
    def test_is_who_it_takes(self, cast: Cast, who: str) -> None:
        invitation, _ = invitations.invite(project=cast.project, by=cast.manager, roles=["labeler"])
        with pytest.raises(NotYours):
            invitations.invite(project=cast.project, by=getattr(cast, who), roles=["manager"])
        with pytest.raises(NotYours):
            invitations.withdraw(invitation=invitation, by=getattr(cast, who))


class TestWhoeverHoldsTheLink:
    def test_makes_an_account_and_is_in(self, cast: Cast, manager: Client) -> None:
        path, guest = invite(manager, roles=["labeler", "reviewer"]), Client()
        page = guest.get(path).content.decode()
        assert "Invitation to <bdi>Kindness</bdi>" in page
        assert f"/accounts/login/?next={path}" in page
        assert guest.post(path, NEW)["Location"] == "/p/kindness/"
        user = User.objects.get(username="nora")
        assert user.check_password(OWN)
        assert (user.display_name, user.must_change_password, user.created_by) == ("Nora Berg", False, None)
        assert roles(user) == ["labeler", "reviewer"]
        assert "Nora Berg" in guest.get("/p/kindness/").content.decode()
        assert Invitation.objects.get().accepted_by == user
        assert AuditEvent.objects.filter(verb__in=["account.created", "invitation.accepted"], actor=user).count() == 2
        assert OWN not in str(AuditEvent.objects.values())

    def test_signs_in_with_the_account_they_have(self, cast: Cast, manager: Client) -> None:
        path, guest = invite(manager), Client()
        signed_in = guest.post(f"/accounts/login/?next={path}", {"login": "outsider", "password": PASSWORD})
        assert signed_in["Location"] == path
        assert "Accept the invitation" in guest.get(path).content.decode()
        assert roles(cast.outsider) == ["manager"]  # nothing happens before they accept
        assert guest.post(path)["Location"] == "/p/kindness/"
        assert Membership.objects.filter(user=cast.outsider, project=cast.project, role="labeler").exists()
        assert cast.outsider.check_password(PASSWORD)

    def test_uses_it_once(self, cast: Cast, manager: Client) -> None:
        path = invite(manager)
        assert Client().post(path, NEW).status_code == 302
        again = Client().post(path, NEW | {"username": "second"})
        assert again.status_code == 404
        assert "was used or withdrawn, or its time is over" in again.content.decode()
        assert not User.objects.filter(username="second").exists()
        other = Client()
        other.force_login(cast.outsider)
        assert other.post(path).status_code == 404
        assert not Membership.objects.filter(user=cast.outsider, project=cast.project).exists()

    def test_has_some_days_for_it(self, cast: Cast, settings: Any) -> None:
        settings.HONE_ONE_TIME_DAYS = 3
        invitation, token = invitations.invite(project=cast.project, by=cast.manager, roles=["labeler"])
        assert timedelta(days=2.9) < invitation.expires_at - timezone.now() <= timedelta(days=3)
        Invitation.objects.update(expires_at=timezone.now())
        assert Client().post(f"/invitation/{token}/", NEW).status_code == 404
        with pytest.raises(Refused):
            invitations.accept(token=token, user=cast.outsider)

    def test_finds_it_closed_when_the_inviter_manages_no_more(self, cast: Cast, manager: Client) -> None:
        path = invite(manager, roles=["manager"])
        Membership.objects.filter(user=cast.manager).delete()
        assert Client().post(path, NEW).status_code == 404

    def test_is_told_of_a_taken_name_a_few_times_only(self, cast: Cast, manager: Client) -> None:
        path = invite(manager)
        for _ in range(invitations.MOST_TAKEN_NAMES):
            reply = Client().post(path, NEW | {"username": "OUTSIDER"})
            assert reply.status_code == 409
            assert "Somebody has this user name already" in reply.content.decode()
        for name in ("outsider", "free"):
            assert Client().post(path, NEW | {"username": name}).status_code == 429
        assert not User.objects.filter(username="free").exists()
        assert roles(cast.outsider) == ["manager"]

    def test_is_told_when_the_name_is_taken_meanwhile(self, manager: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        path, other, saved = invite(manager), invite(manager), User.save

        def save_after_the_other(user: User, **kwargs: Any) -> None:
            monkeypatch.undo()
            assert Client().post(other, NEW).status_code == 302
            saved(user, **kwargs)

        monkeypatch.setattr(User, "save", save_after_the_other)
        reply = Client().post(path, NEW)
        assert reply.status_code == 409
        assert "Somebody has this user name already" in reply.content.decode()
        assert Client().post(path, NEW | {"username": "another"}).status_code == 302

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"username": "a b"}, "Enter a valid username"),
            ({"username": ""}, "required"),
            ({"username": "imported:kindness:ann"}, "Enter a valid username"),
            ({"again": "another door"}, "not the same"),
            ({"password": "short", "again": "short"}, "too short"),
            ({"username": "labeler1", "password": "labeler1labeler1", "again": "labeler1labeler1"}, "your own name"),
            ({"full_name": "n" * 151}, "at most 150"),
        ],
    )
    def test_is_told_what_is_wrong_and_keeps_the_link(
        self, manager: Client, fields: dict[str, str], sentence: str
    ) -> None:
        path, before = invite(manager), User.objects.count()
        reply = Client().post(path, NEW | fields)
        assert reply.status_code == 400
        assert sentence in reply.content.decode()
        assert User.objects.count() == before
        assert Client().post(path, NEW).status_code == 302

    def test_finds_nothing_at_a_made_up_link(self, db: None) -> None:
        reply = Client().get("/invitation/made-up/")
        assert reply.status_code == 404
        assert "isn’t open" in reply.content.decode()


class TestOneTimePasswords:
    def account(self, cast: Cast) -> tuple[User, str]:
        user, password = members.add(project=cast.project, username="nora", role="labeler", by=cast.admin)
        assert password is not None
        return user, password

    def sign_in(self, client: Client, password: str) -> Any:
        return client.post("/accounts/login/", {"login": "nora", "password": password})

    def test_end_after_some_days(self, cast: Cast, settings: Any) -> None:
        settings.HONE_ONE_TIME_DAYS = 3
        user, password = self.account(cast)
        assert user.one_time_until is not None
        assert timedelta(days=2.9) < user.one_time_until - timezone.now() <= timedelta(days=3)
        early = Client()
        assert self.sign_in(early, password).status_code == 302
        User.objects.filter(pk=user.pk).update(one_time_until=timezone.now())
        late = self.sign_in(Client(), password)
        assert late.status_code == 200
        assert "The time of this one-time password is over" in late.content.decode()
        assert "is over" not in self.sign_in(Client(), "another").content.decode()
        # Nor does a session that it opened in time go on.
        assert early.get("/accounts/password/change/")["Location"].startswith("/accounts/login/")

    def test_of_a_superuser_end_too_and_the_shell_gives_another(self, cast: Cast) -> None:
        user, password = self.account(cast)
        User.objects.filter(pk=user.pk).update(one_time_until=timezone.now(), is_superuser=True, is_staff=True)
        assert self.sign_in(Client(), password).status_code == 200
        user.refresh_from_db()
        user.set_password(OWN)  # as manage.py changepassword does
        user.save()
        assert self.sign_in(Client(), OWN).status_code == 302

    def test_become_a_password_that_does_not_end(self, cast: Cast) -> None:
        _, password = self.account(cast)
        client = Client()
        self.sign_in(client, password)
        client.post("/accounts/password/change/", {"oldpassword": password, "password1": OWN, "password2": OWN})
        user = User.objects.get(username="nora")
        assert (user.must_change_password, user.one_time_until) == (False, None)
        assert self.sign_in(Client(), OWN).status_code == 302


def test_the_administration_of_accounts_is_superusers_alone(cast: Cast) -> None:
    """A permission to change accounts would be one to become anybody."""
    from django.contrib.auth.models import Permission

    clerk = make_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(content_type__app_label="annotate"))
    client = Client()
    client.force_login(clerk)
    for path in ("", "add/", f"{cast.admin.pk}/change/", f"{cast.admin.pk}/password/"):
        assert client.get(f"/admin/annotate/user/{path}").status_code == 403
    client.post(f"/admin/annotate/user/{clerk.pk}/change/", {"username": "clerk", "is_superuser": "on"})
    clerk.refresh_from_db()
    assert not clerk.is_superuser
    client.force_login(cast.admin)
    assert client.get(f"/admin/annotate/user/{cast.labeler.pk}/change/").status_code == 200


def test_the_log_holds_no_link(settings: Any) -> None:
    """Of Django's own lines, of the site's, and of whatever else names an address."""
    output = io.StringIO()
    description = settings.LOGGING["handlers"]["stderr"]
    handler = logging.StreamHandler(output)
    for name in description["filters"]:
        handler.addFilter(import_string(settings.LOGGING["filters"][name]["()"])())
    log = logging.Logger("hone.access")
    log.addHandler(handler)
    log.info("%s %s %d", "POST", "/invitation/aB3-_secret/", 302)
    log.warning("Conflict: /invitation/aB3-_secret/ (%s)", "again /invitation/aB3-_secret")
    assert "secret" not in output.getvalue()
    assert "POST /invitation/***/ 302" in output.getvalue()
