"""What people ask for while things break: labelers submit, a manager exports, an admin starts runs."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

from benchmarks.load import people, service
from benchmarks.load.browser import Browser, Times

THINK_SECONDS = (0.2, 1.2)
PROMPTS_PER_FAULT, FEWEST_PROMPTS, JUDGMENTS = 60, 6_000, 120
"""More than labelers can judge: one who finds no task would count as one who can't work."""
GAP_SECONDS = 12.0
"""Between two runs, and between two exports."""
STAGES = ("sample", "reward")
"""The demo project has no demonstrations to learn from."""
SMALL = {
    "set_max_length": "128",
    "set_precision": "fp32",
    "set_epochs": "6",
    "set_save_every": "20",
    "prompts": "4",
    "samples": "2",
}
"""In place of what a form is filled in with, where it has the field: a small model, and longer runs."""


@dataclass
class Work:
    """Threads of people, until `end`."""

    port: int
    labelers: int
    faults: int
    has_runs: bool = True
    times: Times = field(default_factory=Times)
    over: threading.Event = field(default_factory=threading.Event)
    at_work: list[people.Labeler] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        manager_name, names = service.make_people(self.labelers)
        service.fill(prompts=max(FEWEST_PROMPTS, self.faults * PROMPTS_PER_FAULT), judgments=JUDGMENTS)
        admin_name = make_admin(manager_name)
        for number, name in enumerate(names[: self.labelers]):
            browser = Browser(self.port, self.times, number=number + 1)
            labeler = people.Labeler(
                name=name, password=service.PASSWORD, browser=browser, number=number, think_seconds=THINK_SECONDS
            )
            self.at_work.append(labeler)
            self._begin(labeler.work)
        manager, admin = (Browser(self.port, self.times, number=number) for number in (200, 201))
        for name, browser in ((manager_name, manager), (admin_name, admin)):
            people.sign_in(browser, name, service.PASSWORD, self.over)
        admin.get("/p/demo/models/", "models page")  # where the base model becomes a version
        self._begin(lambda over: _export(manager, over))
        if self.has_runs:
            self._begin(lambda over: _start_runs(admin, over))

    def await_everybody(self, seconds: float) -> int:
        """Wait until every labeler has had another submit acknowledged; how many have not."""
        before = {labeler.name: len(labeler.acknowledged) for labeler in self.at_work}
        until = time.monotonic() + seconds
        while True:
            idle = sum(1 for labeler in self.at_work if len(labeler.acknowledged) == before[labeler.name])
            if not idle or time.monotonic() > until:
                return idle
            time.sleep(0.2)

    def end(self) -> None:
        """Let everybody finish what they have sent."""
        self.over.set()
        for thread in self.threads:
            thread.join(120)

    @property
    def acknowledged(self) -> list[str]:
        return [client_id for labeler in self.at_work for client_id in labeler.acknowledged]

    @property
    def refused(self) -> list[str]:
        return [sentence for labeler in self.at_work for sentence in labeler.refused]

    def _begin(self, part: Callable[[threading.Event], None]) -> None:
        thread = threading.Thread(target=part, args=(self.over,), daemon=True)
        thread.start()
        self.threads.append(thread)


class FilledIn(HTMLParser):
    """The fields of a page's form as a browser would send them, but for buttons and files."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._select, self._text = "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        name, value = has.get("name") or "", has.get("value")
        if tag == "input" and name and has.get("type") not in ("submit", "file", "button"):
            if has.get("type") not in ("checkbox", "radio") or "checked" in has:
                self.fields[name] = "on" if value is None and has.get("type") == "checkbox" else value or ""
        elif tag == "select":
            self._select = name
        elif tag == "textarea":
            self._text = name
            self.fields[name] = ""
        elif tag == "option" and self._select and (self._select not in self.fields or "selected" in has):
            self.fields[self._select] = value or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._text = ""

    def handle_data(self, data: str) -> None:
        if self._text:
            self.fields[self._text] += data


def _export(browser: Browser, over: threading.Event) -> None:
    fields = {"kind": "rankings", "format": "hone", "tie_policy": "keep", "splits": "train"}
    while not over.wait(GAP_SECONDS):
        browser.post("/p/demo/exports/", fields, "start of an export")


def _start_runs(browser: Browser, over: threading.Event) -> None:
    for stage in itertools.cycle(STAGES):
        if over.wait(GAP_SECONDS):
            return
        page, path = "/p/demo/models/", "/p/demo/models/sample"
        if stage != "sample":
            page = path = f"/p/demo/training/new/{stage}"
        fields = FilledIn(browser.get(page, "page of a new run").text).fields
        fields |= {name: value for name, value in SMALL.items() if name in fields}
        fields.pop("csrfmiddlewaretoken", None)
        browser.post(path, fields, f"start of a run: {stage}")


def make_admin(manager_name: str) -> str:
    """Somebody who may train, with the manager's password."""
    from annotate.models import User

    encoded = User.objects.get(username=manager_name).password
    user, _ = User.objects.update_or_create(
        username="load-admin", defaults={"password": encoded, "is_superuser": True, "is_staff": True}
    )
    return user.username
