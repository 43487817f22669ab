"""What a labeler may be given: nothing while they are paused or have reached the day's limit, and otherwise the tasks
that are for them: in a language that they read, of a skill that they have, reserved for nobody else, and without an
edit of what they have judged or an edit of their own."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, time, timedelta
from functools import cached_property
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.db.models.lookups import IsNull
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.data import stored_messages
from annotate.labeling.sensitive_content import visibility
from annotate.models import Assignment, Judgment, Membership, Project, Task, TaskResponse, User
from annotate.models.prepared_queries import prepared_query
from annotate.people.permissions import ROLE_CAPABILITIES, Capability
from annotate.rendering import local_times

UNKNOWN_LANGUAGES = ("", "und")
"""Of prompts whose language nobody knows: everybody gets them."""
LABELING_ROLES = tuple(role for role, granted in ROLE_CAPABILITIES.items() if Capability.LABEL in granted)
MOST_COUNTED = 1_000
"""Tasks that are looked at to say why a labeler gets none of them."""


class WorkRules:
    """The rules of one labeler in one project, read when they are first asked for: by one query, with a daily limit by
    two. Inside the transaction of a claim, which has the labeler's cursor locked."""

    def __init__(self, *, labeler: User, project: Project) -> None:
        self.labeler, self.project = labeler, project

    @cached_property
    def _rows(self) -> list[tuple[Any, ...]]:
        """A row for each role and skill. The roles agree, but for rows that were written past Membership.save."""
        rows = _memberships.all(labeler=self.labeler.pk, project=self.project.pk)
        return [tuple(getattr(row, name) for name in (*_SETTINGS, "listed_skill")) for row in rows]

    @property
    def may_label(self) -> bool:
        """Whether the labeler still has a role for it: it may have been taken away since their request began."""
        return bool(self._rows) or self.labeler.is_superuser

    @property
    def pause(self) -> dict[str, Any] | None:
        """Why the labeler is paused, as a stored message; None when they aren't."""
        return next((reason for paused_at, reason, *_rest in self._rows if paused_at is not None), None)

    @property
    def daily_limit(self) -> int | None:
        """The labeler's own limit, or else the project's."""
        own = [limit for _at, _reason, limit, *_rest in self._rows if limit is not None]
        return min(own) if own else self.project.daily_limit

    @property
    def languages(self) -> frozenset[str]:
        """Primary subtags; empty for all."""
        return frozenset(language for *_rest, languages, _skill in self._rows for language in languages)

    @property
    def skills(self) -> frozenset[int]:
        return frozenset(skill for *_rest, skill in self._rows if skill is not None)

    def allow_more(self, *, held: int) -> bool:
        """Whether the labeler may be given one more task, while they hold so many. What they hold counts as judged, or
        a task leased ahead would go beyond the limit."""
        if not self.may_label or self.pause is not None:
            return False
        limit = self.daily_limit
        return limit is None or self.given_today(at_most=limit) + held < limit

    def given_today(self, *, at_most: int) -> int:
        """Judgments of the labeler since the day began, counted up to `at_most`: so many rows of an index are read, and
        not a history. A choice within a chat is a part of the chat."""
        judgments = Judgment.objects.filter(
            labeler=self.labeler,
            project=self.project,
            created_at__gte=day_start(),
            latest__isnull=False,
            chat_turn=None,
        )
        return judgments.order_by()[:at_most].count()

    def allowed(self, tasks: QuerySet[Task]) -> QuerySet[Task]:
        """Those of the project's tasks that are for this labeler."""
        return for_labeler(tasks, labeler=self.labeler.pk, skills=self.skills, languages=self.languages)


_SETTINGS = ("paused_at", "paused_reason", "daily_limit", "languages")


@prepared_query
def _memberships(labeler: int, project: int) -> QuerySet[Membership]:
    own = Membership.objects.filter(user_id=labeler, project_id=project, role__in=LABELING_ROLES).order_by()
    return own.only(*_SETTINGS).annotate(listed_skill=F("skills"))


def for_labeler(
    tasks: QuerySet[Task], *, labeler: int, skills: frozenset[int], languages: frozenset[str]
) -> QuerySet[Task]:
    """Tasks that are for a labeler with these skills and languages (none: all)."""
    named = Q(reserved_for=None) | Q(reserved_for=labeler)
    tasks = tasks.filter(named | Q(is_there(_DONE_BY_WHO_IT_WAS_FOR)))
    tasks = tasks.filter(Q(skill=None) | Q(skill__in=skills) if skills else Q(skill=None))
    if languages:
        readable = Q(prompt=None) | Q(prompt__language__in=UNKNOWN_LANGUAGES)
        for language in sorted(languages):
            # A task's language is its prompt's: en and en-gb, but not enm.
            readable |= Q(prompt__language__iexact=language) | Q(prompt__language__istartswith=f"{language}-")
        tasks = tasks.filter(readable)
    return tasks.filter(Q(has_edits=False) | ~Q(is_there(_edits_not_for(labeler))))


def reads(languages: frozenset[str], language: str) -> bool:
    """Whether `for_labeler` leaves tasks in this language to somebody with these languages."""
    written = language.casefold()
    by_tag = (written == tag.casefold() or written.startswith(f"{tag.casefold()}-") for tag in languages)
    return language in UNKNOWN_LANGUAGES or any(by_tag)


def day_start(now: datetime | None = None) -> datetime:
    """When the day began that limits count by: in the server's time zone, so that it is the same day for everybody."""
    local = timezone.localtime(now or timezone.now(), timezone.get_default_timezone())
    return datetime.combine(local.date(), time.min, tzinfo=timezone.get_default_timezone())


def next_day_start(now: datetime | None = None) -> datetime:
    # Of the date and not 24 hours later: a day with a change of the clock is longer or shorter.
    date = day_start(now).date() + timedelta(days=1)
    return datetime.combine(date, time.min, tzinfo=timezone.get_default_timezone())


def why_no_work(*, labeler: User, project: Project, kind: str = "") -> str:
    """One sentence why a labeler is given nothing, where the queue isn't just empty for them; else nothing.

    For the page that has no task to show. It looks at no more than the first MOST_COUNTED tasks of the queue, of the
    chosen kind where there is one.
    """
    rules = WorkRules(labeler=labeler, project=project)
    if project.archived_at is not None:
        return ""
    if rules.pause is not None:
        return _("You are paused in this project: %(reason)s") % {"reason": stored_messages.text(rules.pause)}
    limit = rules.daily_limit
    if limit is not None and rules.given_today(at_most=limit) >= limit:
        return ngettext(
            "You have given the %(limit)d judgment that one person may give a day here. It goes on at %(moment)s.",
            "You have given the %(limit)d judgments that one person may give a day here. It goes on at %(moment)s.",
            limit,
        ) % {"limit": limit, "moment": local_times.moment_text(next_day_start())}
    return _why_none_is_for(rules, [kind] if kind else project.task_kinds)


def _why_none_is_for(rules: WorkRules, kinds: list[str]) -> str:
    """A sentence when there are tasks left, all of which the rules keep from this labeler."""
    labeler, project = rules.labeler, rules.project
    open_tasks = Task.objects.filter(project=project, state=Task.State.OPEN, slots_free__gt=0)
    first = list(open_tasks.order_by("position").values_list("pk", flat=True)[: MOST_COUNTED + 1])
    more, first = len(first) > MOST_COUNTED, first[:MOST_COUNTED]
    seen = Assignment.objects.filter(labeler=labeler, task__in=first).exclude(state=Assignment.State.EXPIRED)
    left = Task.objects.filter(pk__in=set(first) - set(seen.values_list("task", flat=True)))
    found = left.filter(kind__in=kinds).select_related("prompt").only(*_READ)
    reasons = Counter(_reason(task, rules) for task in found)
    if not reasons or "" in reasons:
        return ""
    count = sum(reasons.values())
    said = f"{count}+" if more else str(count)
    reason = next(iter(reasons)) if len(reasons) == 1 else "several"
    return _SENTENCES[reason](count) % {"count": said}


_READ = ("reserved_for", "skill", "has_edits", "prompt__language", "prompt__sensitive")


def _reason(task: Task, rules: WorkRules) -> str:
    """Why a task is not for this labeler; empty where it could be."""
    language = task.prompt.language.lower().partition("-")[0] if task.prompt is not None else ""
    if task.reserved_for_id not in (None, rules.labeler.pk):
        return "reserved"
    if task.skill_id is not None and task.skill_id not in rules.skills:
        return "skill"
    if rules.languages and language not in (*UNKNOWN_LANGUAGES, *rules.languages):
        return "language"
    if task.prompt is not None and task.prompt.sensitive and visibility.is_spared(rules.labeler, rules.project):
        return "upsetting"
    return "edits" if task.has_edits else ""


_SENTENCES: dict[str, Callable[[int], str]] = {
    "reserved": lambda count: ngettext(
        "%(count)s task is left, and it is reserved for somebody else.",
        "%(count)s tasks are left, all of them reserved for others.",
        count,
    ),
    "skill": lambda count: ngettext(
        "%(count)s task is left, and it needs a skill that you aren’t listed with.",
        "%(count)s tasks are left, all of which need a skill that you aren’t listed with.",
        count,
    ),
    "language": lambda count: ngettext(
        "%(count)s task is left, and it isn’t in a language that you read.",
        "%(count)s tasks are left, none in a language that you read.",
        count,
    ),
    "upsetting": lambda count: ngettext(
        "%(count)s task is left, and its prompt may upset: you don’t get those.",
        "%(count)s tasks are left, all with prompts that may upset: you don’t get those.",
        count,
    ),
    "edits": lambda count: ngettext(
        "%(count)s task is left, and it has an edit of a response that you wrote or have judged.",
        "%(count)s tasks are left, all with edits of responses that you wrote or have judged.",
        count,
    ),
    "several": lambda count: ngettext(
        "%(count)s task is left, and it isn’t for you.",
        "%(count)s tasks are left, none for you: they are in other languages, need other skills, are reserved, or have "
        "edits of what you have judged.",
        count,
    ),
}


_DONE_BY_WHO_IT_WAS_FOR = Assignment.objects.filter(
    task=OuterRef("pk"),
    labeler=OuterRef("reserved_for"),
    state__in=[Assignment.State.SUBMITTED, Assignment.State.SKIPPED],
)
"""After that a task is everybody's: it may want more judgments, and nobody gets one again that they skipped."""


def _edits_not_for(labeler: int) -> QuerySet[TaskResponse]:
    """Responses of the task that are edits by this labeler, or of a response that they have had before them."""
    # Also one whose lease ran out: they may have read it, and nobody's place in the queue depends on it.
    had = Assignment.objects.filter(labeler=labeler, task__task_responses__response=OuterRef("response__edited_from"))
    edits = TaskResponse.objects.filter(task=OuterRef("pk"), response__edited_from__isnull=False)
    return edits.filter(Q(response__author__user=labeler) | Q(is_there(had)))


def is_there(rows: QuerySet[Any]) -> IsNull:
    """Whether there is such a row. Of EXISTS beside an OR PostgreSQL makes a hash of the whole table, once for each
    claim; what a scalar subquery asks for is looked up by the index when a task needs it."""
    return IsNull(Subquery(rows.order_by().values("pk")[:1]), False)
