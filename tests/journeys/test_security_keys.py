"""Security keys, with the browser's own virtual authenticator: added, used at a sign-in, lost, reset, removed."""

import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from axe_playwright_python.base import AXE_SCRIPT as AXE
from playwright.sync_api import CDPSession, Page

from annotate.models import AuditEvent
from tests.factories.cast import PASSWORD, Cast
from tests.harness.browser import SignIn

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

KEY = {
    "protocol": "ctap2",
    "transport": "usb",
    "hasResidentKey": False,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}

HOME = re.compile(r"://[^/]+/$")
"""Every other address ends with a slash too."""


def plug_in(page: Page) -> tuple[CDPSession, str]:
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    return devtools, devtools.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})["authenticatorId"]


def add_key(page: Page, name: str) -> None:
    page.goto("/accounts/2fa/keys/add/")
    if page.locator("[name=password]").count():
        page.fill("[name=password]", PASSWORD)
        page.click("main button[type=submit]")
    page.fill("[name=name]", name)
    page.get_by_role("button", name="Add", exact=True).click()


def sign_out(page: Page) -> None:
    page.context.clear_cookies()


def give_password(page: Page) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("User name").fill("labeler")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/accounts/code/**")


def violations(page: Page) -> Any:
    page.evaluate(AXE)
    return page.evaluate("async () => (await axe.run()).violations.map((each) => each.id)")


def test_a_key_signs_in_and_recovery_codes_do_without_it(cast: Cast, sign_in: SignIn, settings: Any) -> None:
    settings.HONE_WEBAUTHN = True
    page = sign_in("labeler", PASSWORD)
    page.wait_for_url(HOME)
    devtools, key = plug_in(page)
    add_key(page, "On my desk")
    page.wait_for_url("**/accounts/2fa/codes/")
    codes = re.findall(r"\b\d{8}\b", page.locator("main").inner_text())
    assert len(codes) == 10
    page.goto("/accounts/2fa/")
    assert "On my desk" in page.locator("main").inner_text()
    assert violations(page) == []
    page.goto("/accounts/2fa/keys/add/")
    assert violations(page) == []

    sign_out(page)
    give_password(page)
    assert violations(page) == []
    page.get_by_role("button", name="Use a security key").click()
    page.wait_for_url(HOME)
    assert Authenticator.objects.get(type="webauthn").last_used_at is not None

    # Without the key the browser's refusal is said, and a recovery code signs in.
    devtools.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": key})
    plug_in(page)  # another one, which knows nothing of this site
    sign_out(page)
    give_password(page)
    page.get_by_role("button", name="Use a security key").click()
    page.locator(".failure").wait_for()
    page.fill("[name=code]", codes[0])
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url(HOME)

    # A second key; the first is removed, and two-step sign-in stays on until the last is.
    add_key(page, "Spare")
    page.wait_for_url("**/accounts/2fa/")
    page.get_by_role("button", name="Remove On my desk").click()
    page.locator(".notice, .message", has_text="The key was removed.").first.wait_for()
    assert list(Authenticator.objects.filter(type="webauthn").values_list("data__name", flat=True)) == ["Spare"]
    page.get_by_role("button", name="Remove Spare").click()
    page.locator("li", has_text="None yet.").wait_for()
    assert not Authenticator.objects.exists()
    events = AuditEvent.objects.filter(verb__startswith="second_factor.").order_by("pk")
    assert [(event.verb, event.detail["kind"]) for event in events] == [
        ("second_factor.added", "webauthn"),
        ("second_factor.added", "recovery_codes"),
        ("second_factor.added", "webauthn"),
        ("second_factor.removed", "webauthn"),
        ("second_factor.removed", "webauthn"),
        ("second_factor.removed", "recovery_codes"),
    ]
