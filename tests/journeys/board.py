"""What the journeys over the ranking board share: the way there, and hands for its chips and cards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from annotate.models import Assignment, JudgmentRevision
from tests.conftest import wait_until
from tests.factories.cast import Cast
from tests.harness.browser import SignIn

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def start(sign_in: SignIn, **options: Any) -> Page:
    """Signed in as the labeler, with the first task on the screen and the next one ready behind it."""
    page = sign_in("labeler", at="about:blank", **options)
    scripted = options.get("java_script_enabled", True)
    if not scripted:
        page.goto("/p/kindness/work/")
        return page
    with page.expect_response("**/work/ahead"):
        page.goto("/p/kindness/work/")
    expect(page.locator(".chip").first).to_be_attached()
    settled(page)
    return page


def settled(page: Page) -> None:
    """A submit sooner after a task appeared would be taken for the end of a double click."""
    page.wait_for_function("() => globalThis.hone?.acceptsSubmit()")


def until_held_back(page: Page, routes: list[Route], number: int = 1) -> None:
    """Until so many requests have reached the handler of a route: the event of a request may come before that."""
    wait_until(lambda: page.wait_for_timeout(20) or len(routes) >= number, what=f"{number} requests to be held back")


def held(cast: Cast) -> Assignment:
    return Assignment.objects.get(labeler=cast.labeler, state=Assignment.State.CURRENT)


def on_screen(page: Page) -> int:
    return int(page.locator("#work").get_attribute("data-task") or 0)


def chip(page: Page, letter: str) -> Locator:
    return page.locator(".chip", has_text=letter)


def tier(page: Page, rank: int | str) -> Locator:
    return page.locator(f'.tier ul[data-rank="{rank}"]')


def drag(page: Page, what: Locator, letter: str, rank: int) -> None:
    """By hand: press, move to the tier in steps, let go when it has taken what is dragged."""
    target = tier(page, rank)
    what.hover()
    page.mouse.down()
    box = target.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] - 10, box["y"] + box["height"] / 2
    page.mouse.move(x, y, steps=8)
    for tremor in range(100):
        page.mouse.move(x - tremor % 2, y)
        if letter in target.inner_text():
            break
    page.mouse.up()
    expect(target.locator(".chip", has_text=letter)).to_be_visible()


def press(page: Page, keys: str) -> int:
    """Press keys one after the other; how many they were."""
    names = keys.split()
    for name in names:
        page.keyboard.press(name)
    return len(names)


def latest_tiers() -> list[list[int]]:
    return JudgmentRevision.objects.latest("pk").tiers


def saved(page: Page) -> None:
    expect(page.locator("#receipt .done")).to_have_text("Saved.")


@contextmanager
def without_connection(page: Page) -> Iterator[None]:
    """Nothing reaches the server while this lasts."""

    def refuse(route: Route) -> None:
        route.abort("internetdisconnected")

    page.route("**/p/**", refuse)
    # Chromium says that it routes before the page's renderer does so: until then a request still goes out.
    page.wait_for_function("() => fetch('/p/kindness/mine/').then(() => false, () => true)")
    yield
    page.unroute("**/p/**", refuse)
