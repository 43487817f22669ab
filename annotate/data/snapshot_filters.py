"""What a snapshot takes of a project's records, as it is asked for, stored and named in the card."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from annotate.data.pseudonyms import labeler_name
from annotate.errors import Refused
from annotate.models import Assignment, JudgmentRevision, Project, Prompt, User

SPLITS = tuple(Prompt.Split.values)
LONGEST_NAME = 200
MOST_NAMES = 200


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a snapshot takes. Times compare with when a row was first made; `before` and `after` need a time zone.

    sources: whether people or models judged. labelers: pseudonyms of those who judged or wrote. models: names of
    models, of which one wrote one of the responses. agreement: the least share of pairs on which the labelers of a task
    agree. use_cases, languages: of prompts. An empty tuple takes all. redact: whether personal data in texts are
    replaced; licence: what the card says of it.
    """

    after: datetime | None = None
    before: datetime | None = None
    sources: tuple[str, ...] = tuple(JudgmentRevision.Source.values)
    splits: tuple[str, ...] = SPLITS
    labelers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    agreement: float | None = None
    use_cases: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    comments: bool = False
    redact: bool = False
    licence: str = ""

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """From plain JSON with these names. Raises Refused (400)."""
        if unknown := set(values) - set(cls.__dataclass_fields__):
            raise Refused(_("A snapshot can’t be filtered by “%(name)s”.") % {"name": min(unknown)[:60]}, status=400)
        use_cases = values.get("use_cases") or None
        return cls(
            after=_time(values.get("after")),
            before=_time(values.get("before")),
            sources=_some(values.get("sources"), JudgmentRevision.Source.values, "sources"),
            splits=_some(values.get("splits"), SPLITS, "splits"),
            labelers=_names(values.get("labelers"), "labelers"),
            models=_names(values.get("models"), "models"),
            agreement=_share(values.get("agreement")),
            use_cases=_some(use_cases, Prompt.UseCase.values, "use_cases") if use_cases else (),
            languages=_names(values.get("languages"), "languages"),
            comments=values.get("comments") is True,
            redact=values.get("redact") is True,
            licence=str(values.get("licence") or "")[:LONGEST_NAME],
        )

    def apply(self, rows: QuerySet[Any], *, prompt: str) -> QuerySet[Any]:
        """`prompt` is the way from a row to its prompt."""
        if self.after is not None:
            rows = rows.filter(created_at__gte=self.after)
        if self.before is not None:
            rows = rows.filter(created_at__lt=self.before)
        if set(self.splits) != set(SPLITS):
            rows = rows.filter(**{f"{prompt}split__in": self.splits})
        if self.use_cases:
            rows = rows.filter(**{f"{prompt}use_case__in": self.use_cases})
        return rows.filter(**{f"{prompt}language__in": self.languages}) if self.languages else rows

    def of_people(self, rows: QuerySet[Any], labeler: str, project: Project) -> QuerySet[Any]:
        """Those of the chosen labelers; `labeler` is the way from a row to whoever judged or wrote."""
        if not self.labelers:
            return rows
        wanted = set(self.labelers)
        people = labelers_of(project)
        return rows.filter(**{f"{labeler}__in": [user.pk for user in people if labeler_name(user, project) in wanted]})


def labelers_of(project: Project) -> list[User]:
    """All who have judged or written something in the project."""
    held = Assignment.objects.filter(project=project, labeler=OuterRef("pk"))
    return list(User.objects.filter(Exists(held)).order_by("username"))


def _time(value: Any) -> datetime | None:
    if value in (None, ""):
        return None
    try:
        moment = parse_datetime(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Refused(_("A time bound is written like 2026-11-22T08:00:00+00:00."), status=400)
    return moment


def _some(values: Any, allowed: tuple[str, ...] | list[str], name: str) -> tuple[str, ...]:
    if values is None:
        return tuple(allowed)
    if not isinstance(values, list | tuple) or not values or not all(value in allowed for value in values):
        values_named = {"name": name, "allowed": ", ".join(allowed)}
        raise Refused(_("The filter “%(name)s” takes one or more of %(allowed)s.") % values_named, status=400)
    return tuple(value for value in allowed if value in values)


def _names(values: Any, name: str) -> tuple[str, ...]:
    if values in (None, "", [], ()):
        return ()
    is_list = isinstance(values, list | tuple) and len(values) <= MOST_NAMES
    if not is_list or not all(isinstance(value, str) and 0 < len(value) <= LONGEST_NAME for value in values):
        raise Refused(
            _("The filter “%(name)s” takes up to %(most)s names.") % {"name": name, "most": MOST_NAMES}, status=400
        )
    return tuple(values)


def _share(value: Any) -> float | None:
    if value in (None, ""):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Refused(_("The least agreement of a snapshot is a share from 0 to 1."), status=400)
    return float(value)
