"""Filters of the list of tasks, as an address keeps them: ?state=open&language=zh&q=eggs.

A filter is a condition on tasks, and a probe that asks an index for the few tasks it lets through, if they are few.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.data.text import query_value
from annotate.data.text_search import search_index, search_words
from annotate.labeling import task_kinds
from annotate.models import (
    Assignment,
    Author,
    Judgment,
    Membership,
    Project,
    Prompt,
    Response,
    Task,
    TaskConsensus,
    TaskResponse,
    User,
)

FEW = 1_000
"""A filter that lets no more tasks through is asked first, and the others are applied to those."""
MOST_PROMPTS = 1_000
"""Prompts with words that begin so, of which the newest are looked at where the database can't look at all."""
LONGEST_VALUE = 200
LEVELS = {"low": (0.0, 0.6), "middle": (0.6, 0.8), "high": (0.8, 1.01)}
LATEST = 300
"""Tasks whose languages and authors are offered."""

Choices = Sequence[tuple[str, Any]]
Keys = Iterable[int]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One filter. `choices` are (value, label); a filter with `free` takes any text, and offers its choices.

    condition: a task query narrowed by the value. probe: tasks that the value lets through, in no order and not more
    than asked for; None where no index finds them. highest: the last task that the value may let through: a project's
    newest tasks are often those that nobody has judged.
    """

    name: str
    label: Any
    condition: Callable[[QuerySet[Any], Project, str], QuerySet[Any]]
    choices: Callable[[Project], Choices]
    probe: Callable[[Project, str, int], Keys] | None = None
    highest: Callable[[Project, str], int | None] | None = None
    free: bool = False


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is on."""

    name: str
    label: str
    value: str


@dataclass(frozen=True)
class ChosenFilters(ABC):
    """The filters of one address: their values by name, and the words that are searched for."""

    project: Project
    chosen: Mapping[str, str] = field(default_factory=dict)
    search: str = ""

    @property
    @abstractmethod
    def offered(self) -> Iterable[Filter]:
        """All filters of the list."""

    @property
    def parameters(self) -> dict[str, str]:
        """As an address has them."""
        return dict(self.chosen) | ({"q": self.search} if self.search else {})

    @property
    def chips(self) -> list[Chip]:
        found = [Chip("q", str(_("Text")), self.search)] if self.search else []
        for each in self.offered:
            if value := self.chosen.get(each.name):
                labels = dict(each.choices(self.project))
                found.append(Chip(each.name, str(each.label), str(labels.get(value, value))))
        return found


@dataclass(frozen=True)
class TaskFilters(ChosenFilters):
    """The filters of one address of the list of tasks."""

    @classmethod
    def of(cls, project: Project, given: Mapping[str, str]) -> "TaskFilters":
        """Those of a query string; what isn't a filter, or no value of it, is left out."""
        chosen = {}
        for each in FILTERS:
            value = query_value(given, each.name, longest=LONGEST_VALUE)
            if value and (each.free or value in {key for key, _label in each.choices(project)}):
                chosen[each.name] = value
        return cls(project, chosen, query_value(given, "q", longest=LONGEST_VALUE))

    @property
    def offered(self) -> Iterable[Filter]:
        return FILTERS

    @cached_property
    def terms(self) -> list[search_words.Term]:
        return search_index.resolved(search_words.terms(self.search))

    @property
    def rows(self) -> QuerySet[Task]:
        """All that the list may show."""
        return _tasks(self.project)

    @cached_property
    def prompts(self) -> list[int]:
        """The newest prompts with all words of the search, and one more than are looked at."""
        return search_index.prompts_with(self.terms, most=max(FEW, MOST_PROMPTS) + 1)

    @property
    def is_cut(self) -> bool:
        """Whether only the newest prompts with words that begin so are looked at: there are too many for SQLite."""
        return (
            len(self.prompts) > MOST_PROMPTS
            and connection.vendor == "sqlite"
            and any(term.prefix for term in self.terms)
            if self.terms and self.task_number is None
            else False
        )

    @property
    def task_number(self) -> int | None:
        """A search for #17 is for that task."""
        found = re.fullmatch(r"#\s*([0-9]{1,18})", self.search)
        return int(found[1]) if found else None

    def apply(self, tasks: QuerySet[Task], *, window: QuerySet[Task] | None = None) -> QuerySet[Task]:
        for each in FILTERS:
            if value := self.chosen.get(each.name):
                tasks = each.condition(tasks, self.project, value)
        if self.task_number is not None:
            return tasks.filter(pk=self.task_number)
        if "state" not in self.chosen:
            # Each is one labeler's own, beside the task that it repeats.
            tasks = tasks.exclude(state=Task.State.REPEAT)
        if self.search and self.is_cut:
            return tasks.filter(prompt__in=self.prompts[:MOST_PROMPTS])
        if self.search:
            return search_index.having(tasks, self.terms, window=window) if self.terms else tasks.none()
        return tasks

    @property
    def highest(self) -> int | None:
        """The last task that can pass; None where nothing says so."""
        found = [
            0 if (last := each.highest(self.project, self.chosen[each.name])) is None else last
            for each in FILTERS
            if each.highest is not None and each.name in self.chosen
        ]
        return min(found, default=None)

    @cached_property
    def few(self) -> list[int] | None:
        """Tasks among which all are that the filters let through; None where each lets more than FEW through."""
        if self.task_number is not None:
            return [self.task_number]
        if self.terms:
            prompts = self.prompts[:MOST_PROMPTS] if self.is_cut else self.prompts
            if (found := _of_prompts(self.project, prompts)) is not None:
                return found
        for each in FILTERS:
            if each.probe is not None and (value := self.chosen.get(each.name)):
                found = list(each.probe(self.project, value, FEW + 1))
                if len(found) <= FEW:
                    return found
        return None


def _of_prompts(project: Project, prompts: list[int]) -> list[int] | None:
    """The tasks of some prompts; None where they are not few."""
    if len(prompts) > FEW:
        return None
    found = list(_tasks(project).filter(prompt__in=prompts).values_list("pk", flat=True)[: FEW + 1])
    return found if len(found) <= FEW else None


def _tasks(project: Project) -> QuerySet[Task]:
    return Task.objects.filter(project=project).order_by()


def _numbers(rows: QuerySet[Any], most: int, name: str = "pk") -> Keys:
    keys: list[int] = list(rows.order_by().values_list(name, flat=True)[:most])
    return keys


def _highest(rows: QuerySet[Any]) -> int | None:
    found: int | None = rows.order_by().aggregate(last=Max("task"))["last"]
    return found


def _by_prompt(name: str) -> Callable[[Project, str, int], Keys]:
    def probe(project: Project, value: str, most: int) -> Keys:
        prompts = list(_numbers(Prompt.objects.filter(project=project, **{name: value}), most))
        found = _of_prompts(project, prompts)
        return range(most) if found is None else found

    return probe


def _authors(value: str) -> list[int]:
    return list(Author.objects.filter(name__iexact=value).values_list("pk", flat=True)[:50])


def _with_author(tasks: QuerySet[Task], _project: Project, value: str) -> QuerySet[Task]:
    by = TaskResponse.objects.filter(task=OuterRef("pk"), response__author__in=_authors(value))
    return tasks.filter(Exists(by))


def _probe_author(project: Project, value: str, most: int) -> Keys:
    responses = list(_numbers(Response.objects.filter(author__in=_authors(value)), most))
    if len(responses) >= most:
        return range(most)
    return _numbers(TaskResponse.objects.filter(response__in=responses, task__project=project), most, "task")


def _judged_by(tasks: QuerySet[Task], _project: Project, value: str) -> QuerySet[Task]:
    # By the assignment, of which task and labeler have one: SQLite would look through all judgments of the labeler.
    by = Assignment.objects.filter(task=OuterRef("pk"), labeler=int(value), state=Assignment.State.SUBMITTED)
    return tasks.filter(Exists(by))


def _probe_labeler(project: Project, value: str, most: int) -> Keys:
    return _numbers(Judgment.objects.filter(labeler=int(value), project=project, latest__isnull=False), most, "task")


def _of_consensus(name: str, label: Any) -> Filter:
    """A filter by a share that is stored with the consensus; each has an index."""

    def of_level(value: str) -> dict[str, float]:
        low, high = LEVELS[value]
        return {f"{name}__gte": low, f"{name}__lt": high}

    def condition(tasks: QuerySet[Any], _project: Project, value: str) -> QuerySet[Any]:
        return tasks.filter(Exists(TaskConsensus.objects.filter(task=OuterRef("pk"), **of_level(value))))

    def probe(project: Project, value: str, most: int) -> Keys:
        return _numbers(TaskConsensus.objects.filter(project=project, **of_level(value)), most, "task")

    return Filter(
        name=name,
        label=label,
        choices=lambda _project: [
            ("low", _("Low, below 60%")),
            ("middle", _("Middle, 60 to 80%")),
            ("high", _("High, from 80%")),
        ],
        condition=condition,
        probe=probe,
        highest=lambda project, _value: _highest(TaskConsensus.objects.filter(project=project)),
    )


_PRIORITY = {"raised": Q(priority__gt=0), "normal": Q(priority=0), "lowered": Q(priority__lt=0)}


def project_languages(project: Project) -> Choices:
    found = {project.language, *_latest(project).values_list("prompt__language", flat=True)}
    return [(name, name) for name in sorted(filter(None, found))]


def _author_names(project: Project) -> Choices:
    tasks = list(_latest(project).values_list("pk", flat=True))
    names = TaskResponse.objects.filter(task__in=tasks).order_by().values_list("response__author__name", flat=True)
    return [(name, name) for name in sorted(set(names))]


def _latest(project: Project) -> QuerySet[Task]:
    return Task.objects.filter(project=project).order_by("-pk")[:LATEST]


def people(project: Project) -> Choices:
    """(number, name) of the members."""
    members = Membership.objects.filter(project=project).order_by().values("user")
    found = User.objects.filter(pk__in=members).order_by("username")
    return [(str(person.pk), person.display_name) for person in found]


FILTERS: list[Filter] = [
    Filter(
        name="state",
        label=gettext_lazy("State"),
        choices=lambda _project: list(Task.State.choices),
        condition=lambda tasks, _project, value: tasks.filter(state=value),
        probe=lambda project, value, most: _numbers(_tasks(project).filter(state=value), most),
    ),
    Filter(
        name="kind",
        label=gettext_lazy("Kind"),
        choices=lambda _project: task_kinds.choices(),
        condition=lambda tasks, _project, value: tasks.filter(kind=value),
        probe=lambda project, value, most: _numbers(_tasks(project).filter(kind=value), most),
    ),
    Filter(
        name="use_case",
        label=gettext_lazy("Use case"),
        choices=lambda _project: list(Prompt.UseCase.choices),
        condition=lambda tasks, _project, value: tasks.filter(prompt__use_case=value),
        probe=_by_prompt("use_case"),
    ),
    Filter(
        name="language",
        label=gettext_lazy("Language"),
        choices=project_languages,
        condition=lambda tasks, _project, value: tasks.filter(prompt__language=value),
        probe=_by_prompt("language"),
        free=True,
    ),
    Filter(
        name="priority",
        label=gettext_lazy("Priority"),
        choices=lambda _project: [("raised", _("Raised")), ("normal", _("Normal")), ("lowered", _("Lowered"))],
        condition=lambda tasks, _project, value: tasks.filter(_PRIORITY[value]),
    ),
    Filter(
        name="author",
        label=gettext_lazy("Author of a response"),
        choices=_author_names,
        condition=_with_author,
        probe=_probe_author,
        free=True,
    ),
    Filter(
        name="labeler",
        label=gettext_lazy("Judged by"),
        choices=people,
        condition=_judged_by,
        probe=_probe_labeler,
        highest=lambda project, value: _highest(Judgment.objects.filter(labeler=int(value), project=project)),
    ),
    _of_consensus("agreement", gettext_lazy("Agreement of labelers")),
    _of_consensus("confidence", gettext_lazy("Confidence")),
    Filter(
        name="reserved",
        label=gettext_lazy("Reserved for"),
        choices=people,
        condition=lambda tasks, _project, value: tasks.filter(reserved_for=int(value)),
        probe=lambda project, value, most: _numbers(_tasks(project).filter(reserved_for=int(value)), most),
    ),
    Filter(
        name="skill",
        label=gettext_lazy("Skill"),
        choices=lambda project: [(str(skill.pk), skill.name) for skill in project.skills.order_by("name")],
        condition=lambda tasks, _project, value: tasks.filter(skill=int(value)),
        probe=lambda project, value, most: _numbers(_tasks(project).filter(skill=int(value)), most),
    ),
]
