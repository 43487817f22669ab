"""A real browser on a real server. What the page's console calls an error, or the CSP refuses, fails the test.

The fixtures reach every test by tests/conftest.py alone: a fixture that two modules import is two fixtures to pytest,
and Playwright starts once in a process.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from annotate.models import User
from tests.harness.machine import find_chromium

SignIn = Callable[..., Page]

# Beside two other tests on two cores a page has taken more than Playwright's 5 s; `expect` knows no context's timeout.
PATIENCE = 10_000  # ms


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    # Playwright's loop runs in this thread; Django would take it for an asynchronous program and refuse the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # As root, in a container or a CI, Chromium starts without its sandbox only.
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def sign_in(browser: Browser, transactional_db: None, live_server: Any) -> Iterator[SignIn]:
    """`sign_in(user)` returns a page of somebody who has signed in, at `at`; with a password they did so by the form.

    Further arguments are the browser context's.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    expected: list[str] = []

    def start(username: str, password: str | None = None, *, at: str = "/", **options: Any) -> Page:
        context = browser.new_context(base_url=live_server.url, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if password is None:
            context.add_cookies([{**session(username), "url": live_server.url}])
            page.goto(at)
            return page
        page.goto("/accounts/login/")
        page.get_by_label("User name").fill(username)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        return page

    start.expected = expected  # type: ignore[attr-defined]
    yield start
    for context in contexts:
        context.close()
    unexpected = [text for text in complaints if not any(part in text for part in expected)]
    assert not unexpected, unexpected


def session(username: str) -> dict[str, Any]:
    """The cookie of somebody who has just signed in: two pages fewer to load for every test."""
    client = Client()
    client.force_login(User.objects.get(username=username), backend="annotate.people.backends.PasswordBackend")
    return {"name": settings.SESSION_COOKIE_NAME, "value": client.cookies[settings.SESSION_COOKIE_NAME].value}
