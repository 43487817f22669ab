"""Two-step sign-in: app, recovery codes, who needs it, and who may reset it."""

import base64
import hashlib
import hmac
import re
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import URLPattern

from annotate.models import AuditEvent, User
from config import urls
from config.models import RateBucket
from config.security.second_factor import rules
from tests.factories.cast import PASSWORD, Cast

pytestmark = pytest.mark.any_database


def code_of(secret: str, *, steps: int = 0) -> str:
    """RFC 6238, with the app's defaults: SHA-1, six digits, thirty seconds."""
    counter = struct.pack(">Q", int(time.time()) // 30 + steps)
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 10**6:06d}"


def sign_in(client: Client, user: User) -> Any:
    return client.post("/accounts/login/", {"login": user.username, "password": PASSWORD})


def is_signed_in(client: Client) -> bool:
    return client.get("/account/").status_code == 200


def set_up(client: Client, user: User) -> tuple[str, list[str]]:
    """Through the pages, as a person does it: (secret of the app, recovery codes)."""
    sign_in(client, user)
    asked = client.get("/accounts/2fa/set-up/")
    assert asked["Location"] == "/accounts/reauthenticate/?next=%2Faccounts%2F2fa%2Fset-up%2F"
    confirmed = client.post(asked["Location"], {"password": PASSWORD, "next": "/accounts/2fa/set-up/"})
    assert (confirmed.status_code, confirmed["Location"]) == (302, "/accounts/2fa/set-up/")
    page = client.get("/accounts/2fa/set-up/").content.decode()
    found = re.search(r"<code>([A-Z2-7 ]{39})</code>", page)
    assert found is not None
    secret = found[1].replace(" ", "")
    # The code of the step before, which is good as well: that of now is left for the sign-in.
    turned_on = client.post("/accounts/2fa/set-up/", {"code": code_of(secret, steps=-1)})
    assert turned_on["Location"] == "/accounts/2fa/codes/"
    codes = re.findall(r"<code>(\d{8})</code>", client.get("/accounts/2fa/codes/").content.decode())
    return secret, codes


@pytest.fixture
def commits(django_capture_on_commit_callbacks: Callable[..., Any]) -> Any:
    with django_capture_on_commit_callbacks(execute=True):
        yield


@pytest.fixture
def protected(client: Client, cast: Cast, commits: None) -> tuple[User, str, list[str]]:
    """The labeler, with two-step sign-in and signed out."""
    secret, codes = set_up(client, cast.labeler)
    client.post("/accounts/logout/")
    return cast.labeler, secret, codes


def test_a_password_alone_signs_in_no_more(client: Client, protected: tuple[User, str, list[str]]) -> None:
    user, secret, codes = protected
    assert len(set(codes)) == 10
    replied = sign_in(client, user)
    assert replied["Location"] == "/accounts/code/"
    assert not is_signed_in(client)
    wrong = client.post("/accounts/code/", {"code": f"{(int(code_of(secret)) + 500_000) % 10**6:06d}"})
    assert wrong.status_code == 400
    assert not is_signed_in(client)
    right = client.post("/accounts/code/", {"code": code_of(secret)})
    assert (right.status_code, right["Location"]) == (302, "/")
    assert is_signed_in(client)
    # The browser is known from now on, as after a sign-in by the password alone.
    assert "hone_device" in client.cookies


def test_the_secret_in_the_database_is_no_secret_of_the_app(protected: tuple[User, str, list[str]]) -> None:
    user, secret, codes = protected
    stored = "".join(str(found.data) for found in Authenticator.objects.filter(user=user))
    assert secret not in stored
    assert not any(code in stored for code in codes)


def test_another_key_of_the_site_lets_nobody_in(
    client: Client, protected: tuple[User, str, list[str]], settings: Any
) -> None:
    user, secret, codes = protected
    settings.SECRET_KEY = "another key of the site, long enough for it"
    sign_in(client, user)
    for code in (code_of(secret), codes[0]):
        assert client.post("/accounts/code/", {"code": code}).status_code == 400
    assert not is_signed_in(client)


def test_a_code_is_good_once(client: Client, protected: tuple[User, str, list[str]]) -> None:
    user, secret, codes = protected
    for code in (code_of(secret), codes[3]):
        sign_in(client, user)
        assert client.post("/accounts/code/", {"code": code}).status_code == 302
        client.post("/accounts/logout/")
        sign_in(client, user)
        assert client.post("/accounts/code/", {"code": code}).status_code == 400
    client.post("/accounts/code/", {"code": codes[4]})
    assert "8 codes are left" in client.get("/accounts/2fa/").content.decode()


def test_codes_are_not_guessed(client: Client, protected: tuple[User, str, list[str]]) -> None:
    """Eight in a quarter of an hour, from wherever, by whoever knows the password."""
    user, secret, _codes = protected
    for number in range(8):
        other = Client(REMOTE_ADDR=f"192.0.2.{number}")
        sign_in(other, user)
        assert other.post("/accounts/code/", {"code": "000000"}).status_code == 400
    sign_in(client, user)
    refused = client.post("/accounts/code/", {"code": code_of(secret)})
    assert refused.status_code == 400
    assert "There were too many wrong codes. Try again in 2 min." in refused.content.decode()


def test_a_right_password_is_none_of_the_wrong_ones(client: Client, protected: tuple[User, str, list[str]]) -> None:
    user, _secret, _codes = protected
    RateBucket.objects.all().delete()
    for _number in range(20):
        assert sign_in(Client(), user).status_code == 302


def test_the_page_of_the_code_is_for_those_who_gave_the_password(client: Client, cast: Cast) -> None:
    assert client.get("/accounts/code/")["Location"] == "/accounts/login/"
    assert client.post("/accounts/code/", {"code": "123456"})["Location"] == "/accounts/login/"
    client.force_login(cast.labeler)
    assert client.get("/accounts/code/")["Location"] == "/"


def test_a_code_is_asked_for_again_only_of_those_who_have_one(
    client: Client, cast: Cast, protected: tuple[User, str, list[str]]
) -> None:
    client.force_login(cast.manager)
    assert client.get("/accounts/2fa/reauthenticate/")["Location"] == "/accounts/reauthenticate/"
    client.force_login(protected[0])
    assert client.get("/accounts/2fa/reauthenticate/").status_code == 200


def test_turning_it_off_takes_the_password(client: Client, protected: tuple[User, str, list[str]]) -> None:
    user, _secret, _codes = protected
    client.force_login(user)
    asked = client.post("/accounts/2fa/off/")
    assert asked["Location"].startswith("/accounts/reauthenticate/")
    assert rules.is_on(user)
    client.post("/accounts/reauthenticate/?next=/accounts/2fa/", {"password": PASSWORD})
    client.post("/accounts/2fa/off/")
    assert not Authenticator.objects.filter(user=user).exists()
    client.post("/accounts/logout/")
    assert sign_in(client, user)["Location"] == "/"


def test_new_recovery_codes_replace_the_old_ones(client: Client, protected: tuple[User, str, list[str]]) -> None:
    user, secret, codes = protected
    sign_in(client, user)
    client.post("/accounts/code/", {"code": code_of(secret)})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    client.post("/accounts/2fa/codes/new/")
    fresh = re.findall(r"<code>(\d{8})</code>", client.get("/accounts/2fa/codes/").content.decode())
    assert len(set(fresh) - set(codes)) == 10


def test_changes_are_in_the_audit_log(client: Client, cast: Cast, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        set_up(client, cast.labeler)
    with django_capture_on_commit_callbacks(execute=True):
        client.post("/accounts/2fa/codes/new/")
    client.post("/accounts/2fa/off/")
    events = AuditEvent.objects.filter(verb__startswith="second_factor").order_by("pk")
    assert [(event.verb, event.detail["kind"]) for event in events] == [
        ("second_factor.added", "totp"), ("second_factor.added", "recovery_codes"),
        ("second_factor.new_codes", "recovery_codes"), ("second_factor.removed", "totp"),
        ("second_factor.removed", "recovery_codes"),
    ]  # fmt: skip
    assert {event.actor_id for event in events} == {cast.labeler.pk}


# --- lost devices ---


def test_an_administrator_resets_it(client: Client, cast: Cast, protected: tuple[User, str, list[str]]) -> None:
    user, _secret, _codes = protected
    theirs = Client()
    theirs.force_login(user)
    client.force_login(cast.admin)
    assert "Reset two-step sign-in of" in client.get(f"/p/{cast.project.slug}/people/").content.decode()
    replied = client.post(f"/accounts/2fa/reset/{user.pk}/", {"next": f"/p/{cast.project.slug}/people/"})
    assert replied["Location"] == f"/p/{cast.project.slug}/people/"
    assert not is_signed_in(theirs)
    assert is_signed_in(client)
    assert sign_in(theirs, user)["Location"] == "/"
    event = AuditEvent.objects.get(verb="second_factor.reset")
    assert (event.actor, event.subject_id) == (cast.admin, str(user.pk))


def test_the_command_line_resets_it(protected: tuple[User, str, list[str]]) -> None:
    call_command("reset_second_factor", "labeler")
    assert not rules.is_on(protected[0])
    assert AuditEvent.objects.get(verb="second_factor.reset").actor is None
    for name in ("labeler", "nobody"):
        with pytest.raises(CommandError):
            call_command("reset_second_factor", name)


@pytest.mark.parametrize("role", ["manager", "researcher", "reviewer", "labeler", "outsider"])
def test_nobody_else_resets_it(client: Client, cast: Cast, role: str) -> None:
    Authenticator.objects.create(user=cast.second_labeler, type="totp", data={"secret": ""})
    client.force_login(getattr(cast, role))
    assert client.post(f"/accounts/2fa/reset/{cast.second_labeler.pk}/").status_code == 403
    assert rules.is_on(cast.second_labeler)
    if role == "manager":
        page = client.get(f"/p/{cast.project.slug}/people/").content.decode()
        assert "Reset two-step sign-in" not in page


# --- who needs it ---


@pytest.mark.parametrize(
    ("whom", "needs"),
    [
        ("nobody", set()),
        ("admins", {"admin"}),
        ("managers", {"admin", "manager", "outsider"}),
        ("everybody", {"admin", "manager", "outsider", "labeler", "reviewer", "researcher"}),
    ],
)
def test_who_needs_it_sets_it_up_first(cast: Cast, settings: Any, whom: str, needs: set[str]) -> None:
    """The outsider manages a project of their own."""
    settings.HONE_REQUIRE_SECOND_FACTOR = whom
    for role in ("admin", "manager", "outsider", "labeler", "reviewer", "researcher"):
        client = Client()
        client.force_login(getattr(cast, role))
        replied = client.get("/account/")
        assert (replied.status_code == 302) is (role in needs), role
        if role in needs:
            assert replied["Location"] == "/accounts/2fa/"
            assert client.get("/accounts/2fa/").status_code == 200
            assert client.get("/account/", HTTP_HX_REQUEST="true").status_code == 403
            assert client.get("/admin/").status_code == 302


def test_who_needs_it_cannot_turn_it_off(client: Client, cast: Cast, settings: Any, commits: None) -> None:
    settings.HONE_REQUIRE_SECOND_FACTOR = "everybody"
    set_up(client, cast.labeler)
    assert is_signed_in(client)
    client.post("/accounts/2fa/off/")
    assert rules.is_on(cast.labeler)
    # A reset ends the session that knew of it, and the next one is asked again.
    rules.reset(user=cast.labeler, by=None)
    assert not Session.objects.filter(session_key=client.session.session_key).exists()
    sign_in(client, cast.labeler)
    assert client.get("/account/")["Location"] == "/accounts/2fa/"


# --- every page of accounts ---


def account_pages() -> list[str]:
    paths = [str(each.pattern) for each in urls.urlpatterns if isinstance(each, URLPattern)]
    return [
        f"/{path.replace('<int:user_id>', '1').replace('<int:number>', '1')}"
        for path in paths
        if path.startswith("accounts/")
    ]


@pytest.mark.parametrize("path", account_pages())
def test_a_stranger_gets_to_the_sign_in_alone(db: None, client: Client, path: str) -> None:
    for method in (client.get, client.post):
        replied = method(path)
        if path == "/accounts/login/":
            assert replied.status_code == 200
        else:
            assert replied.status_code == 405 or replied["Location"].startswith("/accounts/login/"), path


def test_the_administration_has_no_sign_in_of_its_own(client: Client, protected: tuple[User, str, list[str]]) -> None:
    user, _secret, _codes = protected
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    replied = client.post("/admin/login/?next=/admin/", {"username": user.username, "password": PASSWORD})
    assert (replied.status_code, replied["Location"]) == (302, "/accounts/login/?next=/admin/")
    assert not is_signed_in(client)


def test_the_administration_has_no_records_of_it(client: Client, cast: Cast) -> None:
    """Deleting one there would leave the account to its password alone, and no event."""
    client.force_login(cast.admin)
    assert client.get("/admin/").status_code == 200
    assert client.get("/admin/mfa/authenticator/").status_code == 404
    assert "authenticator" not in client.get("/admin/").content.decode().lower()


def test_sign_ins_of_administrators_are_in_the_audit_log(client: Client, cast: Cast) -> None:
    sign_in(client, cast.labeler)
    sign_in(Client(), cast.admin)
    event = AuditEvent.objects.get(verb="account.administrator_signed_in")
    assert (event.actor, event.detail) == (cast.admin, {"person": cast.admin.pk, "address": "127.0.0.1"})


def test_codes_load_nothing_of_security_keys(
    client: Client, cast: Cast, commits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """django-allauth's own `wrap` imports 11 MB for whichever factor."""
    monkeypatch.setattr(Authenticator, "wrap", None)
    secret, codes = set_up(client, cast.labeler)
    client.post("/accounts/logout/")
    sign_in(client, cast.labeler)
    assert client.post("/accounts/code/", {"code": code_of(secret)}).status_code == 302
    assert client.get("/accounts/2fa/").context["codes_left"] == len(codes) == 10
