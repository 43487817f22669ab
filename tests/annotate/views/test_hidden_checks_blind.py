"""A labeler's pages, replies and their queries around a hidden check and around an ordinary task: the same, byte for
byte, apart from numbers of records, keys, tokens and the texts that are judged."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import unified_diff

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotate.labeling import queue
from annotate.labeling.checks import calibration, draws, gold
from annotate.labeling.checks.lane import REPEAT_GAP
from annotate.models import Assignment, Project, QueueCursor, Task
from tests.factories.cast import Cast, judge, keys_of, make_comparison, response_ids

HTMX = {"HX-Request": "true"}
WORK = "/p/kindness/work/"
VARYING = ("Set-Cookie", "ETag", "Expires", "Last-Modified", "Content-Length", "X-Request-ID")


class Recorder:
    """What a labeler's browser gets, without what may differ."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.replies: list[tuple[str, str]] = []
        self.queries: list[tuple[str, int]] = []

    def get(self, name: str, path: str, **headers: str) -> None:
        self._keep(name, lambda: self.client.get(path, headers=headers))

    def post(self, name: str, path: str, fields: dict[str, str], **headers: str) -> None:
        self._keep(name, lambda: self.client.post(path, fields, headers=headers))

    def _keep(self, name: str, ask: Callable[[], object]) -> None:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            reply = ask()
        headers = sorted((key, value) for key, value in reply.headers.items() if key not in VARYING)
        self.replies.append((name, normal(f"{reply.status_code}\n{headers}\n{reply.content.decode()}")))
        self.queries.append((name, len(queries)))


def normal(text: str) -> str:
    """Without numbers of records, keys of responses, tokens and judged texts; numbers that are read stay."""
    text = re.sub(r"(Ordinary|Special)\d* (question|one|two|three|four)", "TEXT", text)
    text = re.sub(r"\b[0-9a-f]{20}\b", "KEY", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"(csrf\w*\W+(?:value=)?\W+)[A-Za-z0-9]{64}", r"\1CSRF", text)
    text = re.sub(r"X-CSRFToken[^}]+", "CSRF", text)
    text = re.sub(r"(work/)\d+", r"\1N", text)
    text = re.sub(r"(data-task=\"|assignment-|task-|X-Hone-Task', ')\d+", r"\1N", text)
    text = re.sub(r"('Content-Length', ')\d+", r"\1N", text)
    # The times of what was done.
    return re.sub(r"<time[^>]*>[^<]*</time>", "TIME", text)


def special(cast: Cast, kind: str) -> list[Task]:
    """Tasks that the lane may give, besides ordinary ones of the same shape."""
    texts = ("Special one", "Special two", "Special three", "Special four")
    tasks = [make_comparison(cast.project, f"Special{number} question", texts=texts) for number in range(3)]
    for task in tasks:
        if kind == "gold":
            gold.promote(task=task, tiers=[[key] for key in response_ids(task)], by=cast.manager)
        elif kind == "calibration":
            calibration.add(task=task, by=cast.manager)
        elif kind == "evaluation":
            Task.objects.filter(pk=task.pk).update(state=Task.State.EVALUATION)
    return tasks


def day(cast: Cast, *, checks: bool, whole: bool = True) -> Recorder:
    """A labeler's day with tasks that are hidden checks or aren't: the first is shown, submitted and looked up, and on
    a whole day also all else is done that can be done with one."""
    client = Client()
    client.force_login(cast.labeler)
    browser = Recorder(client)
    seed = seed_of(cast, checks)
    QueueCursor.objects.filter(labeler=cast.labeler).update(draw_seed=seed, draws=0)
    browser.get("work", WORK)
    held = Assignment.objects.get(labeler=cast.labeler, state=Assignment.State.CURRENT)
    assert held.is_check == checks
    browser.get("work again", WORK)
    browser.get("ahead", f"{WORK}ahead", **HTMX)
    order = {f"rank-{key}": str(rank) for rank, key in enumerate(keys_of(held), start=1)}
    fields = order | {"client_id": str(uuid.uuid4()), "seconds": "3", "comment": ""}
    address = f"{WORK}{held.pk}/"
    if not whole:
        browser.post("submit", f"{address}submit", fields, **HTMX)
        browser.get("my work", "/p/kindness/mine/")
        browser.get("an earlier task", f"{address}?back=mine")
        return browser
    browser.get("task", address)
    browser.get("kept draft", f"{address}draft")
    browser.post("draft", f"{address}draft", order | {"draft_version": "1", "draft_base": "0", "draft_page": "p"})
    browser.post("skip", f"{address}skip", {"skip_reason": "broken"}, **HTMX)
    browser.post("undo the skip", f"{address}undo", {}, **HTMX)
    browser.post("refused", f"{address}submit", {"client_id": str(uuid.uuid4())}, **HTMX)
    browser.post("submit", f"{address}submit", fields, **HTMX)
    browser.post("submit again", f"{address}submit", fields, **HTMX)
    browser.post("undo", f"{address}undo", {}, **HTMX)
    browser.post("submit after undo", f"{address}submit", fields | {"client_id": str(uuid.uuid4())}, **HTMX)
    browser.get("my work", "/p/kindness/mine/")
    for show in ("revised", "unfinished"):
        browser.get(f"my work, {show}", f"/p/kindness/mine/?show={show}")
    browser.get("my work, found", "/p/kindness/mine/?words=question")
    browser.get("an earlier task", f"{address}?back=mine")
    browser.post("a revision", f"{address}submit", fields | {"client_id": str(uuid.uuid4()), "back": "mine"})
    browser.post("a report", f"{address}report", {"report_reason": "broken", "report_note": ""}, **HTMX)
    browser.get("work then", WORK)
    following = Assignment.objects.get(labeler=cast.labeler, state=Assignment.State.CURRENT)
    Assignment.objects.filter(pk=following.pk).update(lease_until="2020-01-01T00:00:00Z")
    queue.release_expired()
    browser.get("after the lease ran out", WORK)
    again = Assignment.objects.get(labeler=cast.labeler, state=Assignment.State.CURRENT)
    browser.replies.append(("the same task after it", str(again.pk == following.pk)))
    browser.get("home", "/")
    return browser


def seed_of(cast: Cast, checks: bool) -> int:
    """A seed whose first draws all give checks, or none."""
    project = cast.project
    rates = project.gold_rate + project.repeat_rate + project.evaluation_share
    rate = 1 - (1 - rates) * (0.5 if project.calibration_version else 1)
    for seed in range(1_000_000):
        cursor = QueueCursor(draw_seed=seed, labeler_id=cast.labeler.pk, project_id=project.pk)
        if all((draws.drawn(cursor, number) < rate) == checks for number in range(6)):
            return seed
    raise AssertionError("no such seed")


@contextmanager
def tried() -> Iterator[None]:
    """Undo what is written within."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.mark.parametrize("kind", ["gold", "calibration", "repeat", "evaluation"])
def test_nothing_tells_a_check_from_an_ordinary_task(cast: Cast, kind: str) -> None:
    rates = {
        "gold": {"gold_rate": 0.5},
        "repeat": {"repeat_rate": 0.5},
        "calibration": {},
        "evaluation": {"evaluation_share": 0.5},
    }[kind]
    texts = ("Ordinary one", "Ordinary two", "Ordinary three", "Ordinary four")
    if kind == "repeat":
        for number in range(REPEAT_GAP + 4):
            make_comparison(cast.project, f"Ordinary{number} question", texts=texts)
        while (held := queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)) is not None:
            judge(held, [[key] for key in held.presentation])
    else:
        special(cast, kind)
    Project.objects.filter(pk=cast.project.pk).update(**rates)
    cast.project.refresh_from_db()
    for number in range(8):
        make_comparison(cast.project, f"Ordinary{100 + number} question", texts=texts)
    queue.leases.locked_cursor(labeler=cast.labeler, project=cast.project.pk)
    # What a process keeps from one page to the next is there in both.
    with tried():
        day(cast, checks=False, whole=False)
    with tried():
        ordinary = day(cast, checks=False, whole=kind == "gold")
    with tried():
        hidden = day(cast, checks=True, whole=kind == "gold")
    # How many are left follows from other draws; test_lane says that it falls by one with each task.
    left = re.compile(r"of \d+|max=\"\d+\"|<strong>\d+</strong>")
    other = [
        line
        for (name, plain), (_, check) in zip(ordinary.replies, hidden.replies, strict=True)
        for line in unified_diff(left.sub("", plain).splitlines(), left.sub("", check).splitlines(), name, n=0)
    ]
    assert other == []
    # Nor do queries, which take time: as many in each reply, but where an ordinary claim happens to search twice, or
    # searches for what came free again; each asks first whether it would look at too many.
    pairs = zip(ordinary.queries, hidden.queries, strict=True)
    more = {name: plain - check for (name, plain), (_, check) in pairs if plain != check}
    assert more.keys() <= {"work", "work then", "after the lease ran out"}
    assert all(0 < count <= 4 for count in more.values())
