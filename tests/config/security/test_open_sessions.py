"""Where a person is signed in, and signing out there."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.models import AuditEvent, User
from config.models import OpenSession
from config.security.open_sessions import tracking
from config.security.rate_limits import MemoryBuckets
from tests.factories.cast import PASSWORD, Cast

pytestmark = pytest.mark.any_database
NEW = "a new password for tests 7"


def signed_in(user: User, browser: str = "Firefox on a desk") -> Client:
    client = Client(headers={"User-Agent": browser}, REMOTE_ADDR="192.0.2.9")
    client.post("/accounts/login/", {"login": user.username, "password": PASSWORD})
    return client


def is_open(client: Client) -> bool:
    return client.get("/account/").status_code == 200


def test_the_page_lists_ones_own_sessions(cast: Cast) -> None:
    here, _there = signed_in(cast.labeler), signed_in(cast.labeler, "<b>Phone</b>")
    signed_in(cast.second_labeler, "A colleague's")
    page = here.get("/accounts/sessions/").content.decode()
    assert "Firefox on a desk" in page
    assert "&lt;b&gt;Phone&lt;/b&gt;" in page
    assert "192.0.2.9" in page
    assert "A colleague" not in page
    assert page.count("this one") == 1


def test_one_session_is_ended(cast: Cast) -> None:
    here, there = signed_in(cast.labeler), signed_in(cast.labeler, "Phone")
    number = OpenSession.objects.get(browser="Phone").pk
    assert here.post(f"/accounts/sessions/{number}/end/").status_code == 302
    assert is_open(here)
    assert not is_open(there)
    assert "Phone" not in here.get("/accounts/sessions/").content.decode()
    event = AuditEvent.objects.get(verb="sessions.ended")
    assert (event.actor, event.detail["sessions"]) == (cast.labeler, 1)


@pytest.mark.parametrize("role", ["outsider", "manager", "admin"])
def test_nobody_ends_anothers(cast: Cast, role: str) -> None:
    theirs, mine = signed_in(cast.labeler, "Theirs"), Client()
    mine.force_login(getattr(cast, role))
    mine.post(f"/accounts/sessions/{OpenSession.objects.get(browser='Theirs').pk}/end/")
    mine.post("/accounts/sessions/end-others/")
    assert is_open(theirs)
    assert not AuditEvent.objects.filter(verb="sessions.ended").exists()


def test_all_others_are_ended_at_once(cast: Cast) -> None:
    here, *others = (signed_in(cast.labeler, f"Browser {number}") for number in range(4))
    reply = here.post("/accounts/sessions/end-others/", follow=True)
    assert "3 other sessions were ended." in reply.content.decode()
    assert [is_open(each) for each in (here, *others)] == [True, False, False, False]
    assert Session.objects.count() == 1


def test_a_new_password_ends_the_others(cast: Cast) -> None:
    here, there = signed_in(cast.labeler), signed_in(cast.labeler, "Phone")
    here.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    assert is_open(here)
    assert not is_open(there)
    assert [row.browser for row in tracking.listed(User.objects.get(pk=cast.labeler.pk))] == ["Firefox on a desk"]


def test_what_ended_otherwise_is_not_listed(cast: Cast) -> None:
    """Signed out, expired, or ended by a password that was set elsewhere."""
    signed_in(cast.labeler, "Out").post("/accounts/logout/")
    signed_in(cast.labeler, "Old")
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert tracking.listed(cast.labeler) == []
    signed_in(cast.labeler, "Before")
    cast.labeler.set_password(NEW)
    cast.labeler.save()
    assert tracking.listed(cast.labeler) == []
    assert not OpenSession.objects.filter(user=cast.labeler).exists()


def test_a_session_in_use_is_written_down_rarely(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in(cast.labeler)
    OpenSession.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    with CaptureQueriesContext(connection) as queries:
        client.get("/account/")
    assert not any("config_opensession" in query["sql"] for query in queries)
    # Another process, or a quarter of an hour later; also of a session that nobody has written down.
    for _round in range(2):
        monkeypatch.setattr(tracking, "_noted", MemoryBuckets())
        client.get("/account/")
        assert timezone.now() - OpenSession.objects.get().seen_at < timedelta(minutes=1)
        OpenSession.objects.all().delete()
