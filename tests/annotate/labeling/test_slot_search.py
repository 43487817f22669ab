"""A claim's search holds no lock for longer than a window takes, however little of a large queue is for the labeler."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.labeling import queue
from annotate.labeling.queue import leases, slot_search, work_rules
from annotate.labeling.queue.slot_search import Further
from annotate.models import Assignment, Membership, Project, Prompt, QueueCursor, Skill, Task, User
from tests.factories.cast import Cast, judge, make_comparison, make_prompt

pytestmark = pytest.mark.django_db(transaction=True)
LARGE = 12 * slot_search.WINDOW
MOST_ROWS = {"sqlite": slot_search.WINDOW, "postgresql": 6 * slot_search.WINDOW}
"""That all statements of a claim's transactions may read: PostgreSQL's plans count each row of each table."""
STEPS_A_ROW = 75
"""Of SQLite's virtual machine: about what the longest of a window's rows takes."""


@pytest.fixture
def large(cast: Cast) -> Cast:
    """A queue of LARGE tasks of two prompts in English, which want two judgments each."""
    Project.objects.filter(pk=cast.project.pk).update(task_kinds=["compare", "rate"])
    prompts = [make_prompt(cast.project, question) for question in ("A?", "B?")]
    Task.objects.bulk_create(
        Task(project=cast.project, prompt=prompts[n % 2], judgments_wanted=2, slots_free=2, random_key=1_000 + n)
        for n in range(LARGE)
    )
    leases.raise_epoch(project_id=cast.project.pk)
    if connection.vendor == "postgresql":  # which does so by itself after a while; SQLite never does
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    return cast


def claim(cast: Cast, user: User | None = None) -> Assignment | None:
    project = Project.objects.get(pk=cast.project.pk)
    return queue.claim_next(labeler=user or cast.labeler, project=project, ahead=False)


def claimed(cast: Cast, user: User | None = None) -> Task:
    assignment = claim(cast, user)
    assert assignment is not None
    return assignment.task


def have_done(labeler: User, tasks: list[Task]) -> None:
    now = timezone.now()
    Assignment.objects.bulk_create(
        Assignment(
            task=task,
            labeler=labeler,
            project_id=task.project_id,
            state=Assignment.State.SUBMITTED,
            seed=0,
            lease_until=now,
            ended_at=now - timedelta(microseconds=len(tasks) - number),
        )
        for number, task in enumerate(tasks)
    )


def claimed_and_done(cast: Cast) -> Task:
    task = claimed(cast)
    Assignment.objects.filter(task=task).update(state=Assignment.State.SUBMITTED, ended_at=timezone.now())
    return task


@contextmanager
def steps() -> Iterator[list[int]]:
    """Of SQLite's virtual machine; elsewhere none are counted."""
    taken = [0]
    if connection.vendor != "sqlite":
        yield taken
        return

    def count() -> int:
        taken[0] += 100
        return 0

    connection.ensure_connection()
    connection.connection.set_progress_handler(count, 100)
    try:
        yield taken
    finally:
        connection.connection.set_progress_handler(None, 100)


@contextmanager
def rows_read_in_transactions() -> Iterator[list[float]]:
    """About how many rows statements read within transactions: by the steps of SQLite's machine, or by the plans that
    PostgreSQL has carried out."""
    read = [0.0]
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        raw = connection.connection

        def count() -> int:
            read[0] += 100 / STEPS_A_ROW if raw.in_transaction else 0
            return 0

        raw.set_progress_handler(count, 100)
        try:
            yield read
        finally:
            raw.set_progress_handler(None, 100)
        return
    with CaptureQueriesContext(connection) as captured:
        yield read
    is_within = False
    for statement in [query["sql"] for query in captured.captured_queries]:
        is_within = statement == "BEGIN" or (is_within and statement not in ("COMMIT", "ROLLBACK"))
        if is_within and statement.startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement.replace("%", "%%"), ())
                (plan,) = cursor.fetchone()
            found = json.loads(plan) if isinstance(plan, str) else plan
            read[0] += rows_of(found[0]["Plan"])


def rows_of(plan: dict[str, Any]) -> float:
    """Of tables and indexes that a plan's parts have read."""
    own = (plan.get("Actual Rows", 0) + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return ("Relation Name" in plan) * float(own) + sum(map(rows_of, plan.get("Plans", [])))


def reads_chinese(large: Cast) -> None:
    Membership.objects.filter(user=large.labeler).update(languages=["zh"])


def wants_another_kind(large: Cast) -> None:
    queue.choose_kind(labeler=large.labeler, project=Project.objects.get(pk=large.project.pk), kind="rate")


def has_done_all(large: Cast) -> None:
    have_done(large.labeler, list(Task.objects.all()))


def is_spared(large: Cast) -> None:
    User.objects.filter(pk=large.labeler.pk).update(sensitive_choice=User.SensitiveChoice.NEVER)
    large.labeler.refresh_from_db()
    Prompt.objects.update(sensitive=True)


def lacks_a_skill(large: Cast) -> None:
    Task.objects.update(skill=Skill.objects.create(project=large.project, name="Law"))


def others_are_named(large: Cast) -> None:
    Task.objects.update(reserved_for=large.second_labeler)


@pytest.mark.parametrize(
    "nothing_is_for_them",
    [reads_chinese, wants_another_kind, has_done_all, is_spared, lacks_a_skill, others_are_named],
)
def test_a_claim_that_finds_nothing_reads_no_more_than_a_window_under_its_locks(
    large: Cast, nothing_is_for_them: Callable[[Cast], None]
) -> None:
    nothing_is_for_them(large)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # or the plan depends on whether autovacuum came by
    with rows_read_in_transactions() as read:
        assert claim(large) is None
    assert 0 < read[0] < MOST_ROWS[connection.vendor]
    assert QueueCursor.objects.get(labeler=large.labeler).position == slot_search.END


@pytest.mark.parametrize("knows_languages", [True, False])
def test_the_few_that_are_for_them_come_in_the_order_of_priority_from_wherever_they_are(
    large: Cast, monkeypatch: pytest.MonkeyPatch, knows_languages: bool
) -> None:
    if not knows_languages:
        monkeypatch.setattr(slot_search, "MOST_LANGUAGES", 1)
    reads_chinese(large)
    last = make_comparison(large.project, "最后?", ("是。", "否。"), priority=-5)
    first = make_comparison(large.project, "首先?", ("是。", "否。"), priority=-4)
    Prompt.objects.filter(tasks__in=[first, last]).update(language="zh-hans")
    assert claimed(large) == first
    ahead = queue.lease_ahead(labeler=large.labeler, project=Project.objects.get(pk=large.project.pk))
    assert ahead is not None
    assert ahead.task == last
    for task in (first, last):
        assignment = claim(large)
        assert assignment is not None
        assert assignment.task == task
        judge(assignment, [assignment.presentation])
    assert claim(large) is None
    place = QueueCursor.objects.get(labeler=large.labeler)
    assert (place.position, place.epoch) == (slot_search.END, Project.objects.get(pk=large.project.pk).queue_epoch)


def test_tasks_in_few_prompts_of_a_language_are_found_without_reading_the_queue(
    large: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads_chinese(large)
    tasks = [make_comparison(large.project, f"{number}?", ("是。", "否。"), priority=-9) for number in range(3)]
    of_tags = dict(zip(tasks, ("ZH", "zh-tw", "zho"), strict=True))
    for task, tag in of_tags.items():
        Prompt.objects.filter(tasks=task).update(language=tag)
    monkeypatch.setattr(slot_search, "_strides", None)
    with steps() as taken:
        assert {claimed_and_done(large), claimed_and_done(large)} == set(tasks[:2])
        assert claim(large) is None
    if connection.vendor == "sqlite":
        assert taken[0] / STEPS_A_ROW < LARGE / 2


def test_the_same_prompts_task_is_put_off_among_the_few_too(large: Cast) -> None:
    reads_chinese(large)
    prompts = [make_prompt(large.project, question) for question in ("一?", "二?")]
    Prompt.objects.filter(pk__in=[prompt.pk for prompt in prompts]).update(language="zh")
    first, second, other = (
        Task.objects.create(project=large.project, prompt=prompts[number // 2], random_key=2**47 + number)
        for number in range(3)
    )
    leases.raise_epoch(project_id=large.project.pk)
    assert [claimed_and_done(large) for _ in range(3)] == [first, other, second]


@pytest.mark.parametrize(
    ("languages", "language", "wanted"),
    [
        ({"en"}, "en", True), ({"en"}, "EN-gb", True), ({"en"}, "enm", False), ({"en"}, "", True),
        ({"en"}, "und", True), ({"zh", "fr"}, "fr", True), ({"zh"}, "en", False), ({"zh-hans"}, "zh", False),
    ],
)  # fmt: skip
def test_languages_are_read_as_the_queue_gives_them(
    large: Cast, languages: set[str], language: str, wanted: bool
) -> None:
    assert work_rules.reads(frozenset(languages), language) is wanted
    Prompt.objects.update(language=language)
    Membership.objects.filter(user=large.labeler).update(languages=sorted(languages))
    assert (claim(large) is not None) is wanted


def test_a_task_of_another_prompt_is_found_behind_all_that_they_have_done(large: Cast) -> None:
    first, *others = Task.objects.order_by("position")
    have_done(large.labeler, others[3:])
    Task.objects.exclude(pk=first.pk).update(prompt=others[0].prompt)
    Task.objects.filter(pk__in=[task.pk for task in others[:3]]).update(prompt=first.prompt)
    other = make_comparison(large.project, "C?", ("Yes.", "No."), priority=-5)
    for task in (first, other, *others[:3]):
        assignment = claim(large)
        assert assignment is not None
        assert assignment.task == task
        Assignment.objects.filter(pk=assignment.pk).update(state=Assignment.State.SUBMITTED, ended_at=timezone.now())
    assert claim(large) is None


def test_many_places_that_come_free_at_once_are_looked_at_as_if_from_the_front(large: Cast) -> None:
    first, second, *_others = Task.objects.order_by("position")
    have_done(large.labeler, [first, second])
    project = Project.objects.get(pk=large.project.pk)
    QueueCursor.objects.create(
        labeler=large.labeler, project=project, position=slot_search.END, epoch=project.queue_epoch
    )
    assert claim(large) is None
    Project.objects.filter(pk=project.pk).update(reopened_count=1)
    Task.objects.update(reopened=1)
    with rows_read_in_transactions() as read:
        assert claimed(large).random_key == 1_002
    assert 0 < read[0] < MOST_ROWS[connection.vendor]
    assert QueueCursor.objects.get(labeler=large.labeler).reopened_seen == 1


def test_what_somebody_else_takes_while_the_search_goes_on_is_passed_by(
    large: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads_chinese(large)
    tasks = [make_comparison(large.project, f"{number}?", ("是。", "否。"), priority=-number) for number in range(2, 5)]
    Prompt.objects.filter(tasks__in=tasks).update(language="zh")
    searches: list[Further] = []

    def look_and_lose(search: Further) -> Further:
        found = slot_search.look_further(search)
        if not searches:
            Task.objects.filter(pk=tasks[0].pk).update(slots_free=0)
        searches.append(found)
        return found

    monkeypatch.setattr(leases, "look_further", look_and_lose)
    assert claimed(large) == tasks[1]
    assert len(searches) <= 2


def test_a_search_begins_anew_when_the_labelers_rules_change_while_it_goes_on(
    large: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads_chinese(large)
    front = Task.objects.order_by("position")[0]

    def look_and_learn(search: Further) -> Further:
        found = slot_search.look_further(search)
        Membership.objects.filter(user=large.labeler).update(languages=["en"])
        return found

    monkeypatch.setattr(leases, "look_further", look_and_learn)
    assert claimed(large) == front


def test_a_task_that_appears_while_the_search_goes_on_is_found_by_the_next_claim(
    large: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads_chinese(large)
    added: list[Task] = []

    def look_and_add(search: Further) -> Further:
        found = slot_search.look_further(search)
        if not added:
            added.append(make_comparison(large.project, "新?", ("是。", "否。"), priority=3))
            Prompt.objects.filter(tasks=added[0]).update(language="zh")
        return found

    monkeypatch.setattr(leases, "look_further", look_and_add)
    assert claim(large) is None
    assert claimed(large) == added[0]
