"""Filters of the list of judgments, as an address keeps them: ?state=returned&first=2026-05-01&q=eggs.

The search is that of the list of tasks: words of the prompt, of its responses, and of what labelers noted beside their
judgments (annotate.data.text_search), in any language.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.data import pseudonyms
from annotate.data.text import query_value
from annotate.data.text_search import search_index, search_words
from annotate.labeling import task_kinds
from annotate.labeling.task_list.task_filters import (
    FEW,
    LONGEST_VALUE,
    MOST_PROMPTS,
    Choices,
    ChosenFilters,
    Filter,
    TaskFilters,
    project_languages,
)
from annotate.models import (
    Judgment,
    JudgmentAcceptance,
    JudgmentReturn,
    MeasureSums,
    Membership,
    Project,
    Prompt,
    User,
)

MOST_LABELERS = 500
"""Labelers who are offered."""


@dataclass(frozen=True)
class JudgmentFilters(ChosenFilters):
    """The filters of one address. problems: a sentence for each value that is none of its filter."""

    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, project: Project, given: Mapping[str, str]) -> "JudgmentFilters":
        """Those of a query string; what is no value of a filter is named and left out."""
        chosen, problems = {}, []
        for each in FILTERS:
            value = query_value(given, each.name, longest=LONGEST_VALUE)
            if not value:
                continue
            known = _day(value) is not None if each.name in DAYS else value in {key for key, _ in each.choices(project)}
            if known or each.free:
                chosen[each.name] = value
            else:
                problems.append(
                    _("“%(value)s” is no value of the filter “%(name)s”; it is left out.")
                    % {"value": value[:60], "name": each.label}
                )
        if "first" in chosen and "last" in chosen and chosen["first"] > chosen["last"]:
            problems.append(_("The period ends before it begins."))
        search = query_value(given, "q", longest=LONGEST_VALUE)
        filters = cls(project, chosen, search)
        return cls(project, chosen, search, (*problems, *filters._problems_of_search()))

    @property
    def offered(self) -> Iterable[Filter]:
        return FILTERS

    @cached_property
    def text(self) -> TaskFilters:
        """The search alone, as the list of tasks has it."""
        return TaskFilters(self.project, search=self.search)

    @property
    def rows(self) -> QuerySet[Judgment]:
        """Judgments of people and of AI labelers as they are now; hidden checks stay hidden, and a choice within a chat
        is read with its chat."""
        found = Judgment.objects.filter(project=self.project, latest__isnull=False, chat_turn=None)
        return found.filter(is_adjudication=False, is_check=False).order_by()

    def apply(self, rows: QuerySet[Judgment], *, window: QuerySet[Judgment] | None = None) -> QuerySet[Judgment]:
        for each in FILTERS:
            if value := self.chosen.get(each.name):
                rows = each.condition(rows, self.project, value)
        if not self.search:
            return rows
        if self.text.task_number is not None:
            return rows.filter(task=self.text.task_number)
        if not self.text.terms:
            return rows.none()
        rows = rows.filter(task__prompt__isnull=False)
        if self.text.is_cut:
            return rows.filter(task__prompt__in=self.text.prompts[:MOST_PROMPTS])
        return search_index.having(rows, self.text.terms, window=window, prompt="task__prompt")

    @property
    def highest(self) -> int | None:
        return None

    @cached_property
    def few(self) -> list[int] | None:
        """Judgments among which all are that the filters let through; None where each lets more than FEW through."""
        if self.text.task_number is not None:
            return self._few(Judgment.objects.filter(task=self.text.task_number, project=self.project))
        if self.text.terms:
            prompts = self.text.prompts[:MOST_PROMPTS]
            if self.text.is_cut or len(self.text.prompts) <= FEW:
                found = self._few(Judgment.objects.filter(task__prompt__in=prompts, project=self.project))
                if found is not None:
                    return found
        for each in FILTERS:
            if each.probe is not None and (value := self.chosen.get(each.name)):
                keys = list(each.probe(self.project, value, FEW + 1))
                if len(keys) <= FEW:
                    return keys
        return None

    def _few(self, rows: QuerySet[Judgment]) -> list[int] | None:
        keys = list(rows.order_by().values_list("pk", flat=True)[: FEW + 1])
        return keys if len(keys) <= FEW else None

    def _problems_of_search(self) -> list[str]:
        if not self.search or self.text.task_number is not None:
            return []
        if not (wanted := search_words.terms(self.search)):
            return [_("There is no word in the search: nothing is found by signs alone.")]
        if len(wanted) >= search_words.MOST_TERMS:
            return [
                _("Only the first %(most)d words of the search are looked for.") % {"most": search_words.MOST_TERMS}
            ]
        return []


def labelers(project: Project) -> Choices:
    """(pseudonym, name) of the members and of those who judged: an address names nobody."""
    judged = MeasureSums.objects.filter(project=project, cut=MeasureSums.Cut.LABELER, grain=MeasureSums.Grain.MONTH)
    members = Membership.objects.filter(project=project).order_by().values("user")
    found = User.objects.filter(Q(pk__in=judged.order_by().values("labeler")) | Q(pk__in=members))
    people = found.order_by("username")[:MOST_LABELERS]
    return [(pseudonyms.labeler_name(person, project), person.display_name) for person in people]


def _labeler(project: Project, value: str) -> list[int]:
    judged = MeasureSums.objects.filter(project=project, cut=MeasureSums.Cut.LABELER, grain=MeasureSums.Grain.MONTH)
    members = Membership.objects.filter(project=project).order_by().values("user")
    found = User.objects.filter(Q(pk__in=judged.order_by().values("labeler")) | Q(pk__in=members)).order_by("username")
    return [person.pk for person in found[:MOST_LABELERS] if pseudonyms.labeler_name(person, project) == value]


def _day(value: str) -> datetime | None:
    """Its first moment in UTC."""
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    if not 1900 < day.year < 9000:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _from_day(rows: QuerySet[Judgment], _project: Project, value: str) -> QuerySet[Judgment]:
    day = _day(value)
    return rows.filter(created_at__gte=day) if day else rows


def _until_day(rows: QuerySet[Judgment], _project: Project, value: str) -> QuerySet[Judgment]:
    day = _day(value)
    return rows.filter(created_at__lt=day + timedelta(days=1)) if day else rows


def _keys(rows: QuerySet[Any], most: int, name: str = "pk") -> Iterable[int]:
    keys: list[int] = list(rows.order_by().values_list(name, flat=True)[:most])
    return keys


_RETURNED = JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment=OuterRef("pk"))
_ACCEPTED = JudgmentAcceptance.objects.filter(revision=OuterRef("latest"))
_STATES: dict[str, tuple[Any, Any]] = {
    "counts": (gettext_lazy("Counts"), Q(left_out__isnull=True)),
    "left_out": (gettext_lazy("Left out"), Q(left_out__isnull=False)),
    "open": (gettext_lazy("Not reviewed yet"), ~Exists(_RETURNED) & ~Exists(_ACCEPTED)),
    "returned": (gettext_lazy("Returned, not revised yet"), Exists(_RETURNED)),
    "accepted": (gettext_lazy("Accepted"), Exists(_ACCEPTED)),
    "revised": (gettext_lazy("Revised by the labeler"), Q(latest__number__gt=1)),
    "unacceptable": (gettext_lazy("All unacceptable"), Q(latest__all_unacceptable=True)),
}

_BY = {
    "people": Judgment.BY_LABELERS,
    "ai": Q(ai_labeler__isnull=False),
    "users": Q(completion__isnull=False),
}


def _probe_state(project: Project, value: str, most: int) -> Iterable[int]:
    if value == "left_out":
        return _keys(Judgment.objects.filter(project=project, left_out__isnull=False), most)
    if value == "returned":
        return _keys(JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment__project=project), most, "judgment")
    return range(most)


FILTERS: list[Filter] = [
    Filter(
        name="state",
        label=gettext_lazy("State"),
        choices=lambda _project: [(name, label) for name, (label, _condition) in _STATES.items()],
        condition=lambda rows, _project, value: rows.filter(_STATES[value][1]),
        probe=_probe_state,
    ),
    Filter(
        name="labeler",
        label=gettext_lazy("Labeler"),
        choices=labelers,
        condition=lambda rows, project, value: rows.filter(labeler__in=_labeler(project, value)),
        probe=lambda project, value, most: _keys(
            Judgment.objects.filter(labeler__in=_labeler(project, value), project=project), most
        ),
    ),
    Filter(
        name="by",
        label=gettext_lazy("By"),
        choices=lambda _project: [
            ("people", _("People")),
            ("ai", _("AI labelers")),
            ("users", _("Users of the model")),
        ],
        condition=lambda rows, _project, value: rows.filter(_BY[value]),
    ),
    Filter(
        name="first",
        label=gettext_lazy("From (day of UTC)"),
        choices=lambda _project: [],
        condition=_from_day,
        probe=lambda project, value, most: _keys(
            _from_day(Judgment.objects.filter(project=project), project, value), most
        ),
    ),
    Filter(
        name="last",
        label=gettext_lazy("To (day of UTC)"),
        choices=lambda _project: [],
        condition=_until_day,
        probe=lambda project, value, most: _keys(
            _until_day(Judgment.objects.filter(project=project), project, value), most
        ),
    ),
    Filter(
        name="kind",
        label=gettext_lazy("Kind"),
        choices=lambda _project: task_kinds.choices(),
        condition=lambda rows, _project, value: rows.filter(task__kind=value),
    ),
    Filter(
        name="use_case",
        label=gettext_lazy("Use case"),
        choices=lambda _project: list(Prompt.UseCase.choices),
        condition=lambda rows, _project, value: rows.filter(task__prompt__use_case=value),
    ),
    Filter(
        name="language",
        label=gettext_lazy("Language"),
        choices=project_languages,
        condition=lambda rows, _project, value: rows.filter(task__prompt__language=value),
        free=True,
    ),
    Filter(
        name="comment",
        label=gettext_lazy("Comment"),
        choices=lambda _project: [("yes", _("With a comment"))],
        condition=lambda rows, _project, _value: rows.exclude(latest__comment=""),
    ),
]
DAYS = ("first", "last")
