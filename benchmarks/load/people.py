"""Simulated people: each in a thread with a browser of their own, until the end is called."""

import random
import re
import threading
import uuid
from dataclasses import dataclass, field

from benchmarks.load.browser import Browser, Reply

THINK_SECONDS = (1.0, 3.0)
RETRY_SECONDS = 2.0
DRAFTS = 2
"""Of a task, as many as pages save while somebody moves three or four responses."""
SIGN_IN_GAP = 1.0
"""Seconds between two people who sign in: they come one after the other, as people do."""
TASK = re.compile(r'action="/p/demo/work/(\d+)/submit"')
RANKS = re.compile(r'name="rank-(\w+)"')
MANAGER_PAGES = ("", "tasks/", "prompts/", "people/", "review/", "exports/", "training/", "models/")


@dataclass
class Labeler:
    """Ranks tasks at random; what got a receipt is in `acknowledged`, by the browser's client ids."""

    name: str
    password: str
    browser: Browser
    number: int
    think_seconds: tuple[float, float] = THINK_SECONDS
    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def work(self, over: threading.Event) -> None:
        if over.wait(self.number * SIGN_IN_GAP):
            return
        if not sign_in(self.browser, self.name, self.password, over):
            return
        page = ""
        while not over.wait(random.uniform(*self.think_seconds)):
            if not TASK.search(page):
                page = self.browser.get("/p/demo/work/", "work page").text
                continue
            page = self._submit(page, over)

    def _submit(self, page: str, over: threading.Event, **more: str) -> str:
        """Submit the task on the page; the next page. Sent again until it gets a reply, as browsers do with Hone."""
        task = TASK.search(page)
        assert task is not None
        client_id = str(uuid.uuid4())
        fields = _ranks(page) | {"client_id": client_id, "seconds": "2", "comment": ""} | more
        while True:
            reply = self.browser.post(f"/p/demo/work/{task[1]}/submit", fields, "submit with next", script=True)
            if reply.status == 200:
                self.acknowledged.append(client_id)
                return reply.text
            if 400 <= reply.status < 500:
                self.refused.append(f"{reply.status}: {reply.text[:120]}")
                return ""
            if over.wait(RETRY_SECONDS):
                return ""


@dataclass
class ScriptedLabeler(Labeler):
    """As the scripts of the pages go on: the next task is fetched while this one is judged, drafts are saved, and the
    submit names the task that is on the screen already."""

    def work(self, over: threading.Event) -> None:
        if over.wait(self.number * SIGN_IN_GAP) or not sign_in(self.browser, self.name, self.password, over):
            return
        page = ""
        while not self._thinks(over):
            if not TASK.search(page):
                page = self.browser.get("/p/demo/work/", "work page").text
                continue
            ahead = self.browser.get("/p/demo/work/ahead", "task ahead", script=True).text
            for number in range(1, DRAFTS + 1):
                self._save_draft(page, number)
                if self._thinks(over):
                    return
            following = TASK.search(ahead)
            reply = self._submit(page, over, **({"shown": following[1]} if following else {}))
            page = reply if TASK.search(reply) else ahead

    def _thinks(self, over: threading.Event) -> bool:
        return over.wait(random.uniform(*self.think_seconds) / (DRAFTS + 1))

    def _save_draft(self, page: str, number: int) -> None:
        task = TASK.search(page)
        assert task is not None
        fields = _ranks(page) | {"draft_page": f"page{self.number}", "draft_version": str(number), "draft_base": ""}
        self.browser.post(f"/p/demo/work/{task[1]}/draft", fields, "draft", script=True)


def _ranks(page: str) -> dict[str, str]:
    keys = list(dict.fromkeys(RANKS.findall(page)))
    random.shuffle(keys)
    return {f"rank-{key}": str(rank) for rank, key in enumerate(keys, start=1)}


def sign_in(browser: Browser, name: str, password: str, over: threading.Event) -> bool:
    """Try until it succeeds: a site that is busy, or not there for a moment, says so. False when the end came first."""
    while browser.sign_in(name, password).status != 302:
        if over.wait(RETRY_SECONDS):
            return False
    return True


def ask_again_and_again(browser: Browser, over: threading.Event) -> None:
    """What a load balancer asks, each second."""
    while not over.wait(1.0):
        browser.get("/healthz", "GET /healthz")


def look_round(browser: Browser, over: threading.Event) -> None:
    """A manager opens one page after the other."""
    while True:
        for page in MANAGER_PAGES:
            if over.wait(random.uniform(*THINK_SECONDS)):
                return
            browser.get(f"/p/demo/{page}", f"page /{page}")


def sign_in_again_and_again(browser: Browser, name: str, password: str, over: threading.Event) -> None:
    """As fast as replies come, each time as a browser that was never here."""
    while not over.is_set():
        browser.cookies.clear()
        browser.sign_in(name, password)


def succeeded(reply: Reply, *, what: str) -> Reply:
    """The reply, if it is a page or leads to one. Raises SystemExit."""
    if reply.status not in (200, 302):
        raise SystemExit(f"{what} got the status {reply.status}: {reply.text[:500]}")
    return reply
