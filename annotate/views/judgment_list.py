"""A project's judgments: browsing and full-text search, for those who see its data. Names are for reviewers alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models.functions import Left
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.data import bounded_listing, pseudonyms
from annotate.data.text_search import search_index
from annotate.labeling import judged_texts
from annotate.labeling.ordering import Ordering
from annotate.models import Judgment, Response
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality.judgment_search.judgment_filters import DAYS, FILTERS, JudgmentFilters

SIZE = 25
EXCERPT = 400
"""Characters of a response that are shown."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A judgment in the list. responses: (letter, rank or None, beginning of the text), the best one first."""

    judgment: Judgment
    line: str
    labeler: str
    comment: str
    responses: Sequence[tuple[str, int | None, str]]


@require_safe
@requires(Capability.SEE_DATA)
def judgments(request: ProjectRequest) -> HttpResponse:
    """?q=&state=&labeler=&by=&first=&last=&kind=&use_case=&language=&comment= choose, ?before= goes on."""
    filters = JudgmentFilters.of(request.project, request.GET.dict())
    before = request.GET.get("before", "")
    start = int(before) if re.fullmatch(r"[0-9]{1,18}", before) else None
    found = bounded_listing.numbers(filters, before=start, size=SIZE)
    by_name = Capability.REVIEW in request.capabilities
    parameters = filters.parameters
    fields = [(each, _choices(each.name, each.choices(request.project), by_name)) for each in FILTERS]
    context = {
        "project": request.project,
        "filters": filters,
        "rows": _rows(request, found.numbers, by_name=by_name),
        "page": found,
        "may_review": by_name,
        "chips": [
            (
                chip if by_name or chip.name != "labeler" else type(chip)("labeler", chip.label, parameters["labeler"]),
                _query({key: value for key, value in parameters.items() if key != chip.name}),
            )
            for chip in filters.chips
        ],
        "fields": [
            (each, choices, filters.chosen.get(each.name, ""))
            for each, choices in fields
            if choices or each.name in DAYS
        ],
        "days": DAYS,
        "first_url": _query(parameters) if start is not None else "",
        "next_url": _query({**parameters, "before": str(found.before)}) if found.before is not None else "",
        "is_behind": bool(filters.search) and search_index.is_behind(),
    }
    only_list = request.htmx and request.htmx.target == "judgment-list"  # type: ignore[attr-defined]
    return render(request, "annotate/judgments.html#list" if only_list else "annotate/judgments.html", context)


def _choices(name: str, choices: Sequence[tuple[str, Any]], by_name: bool) -> Sequence[tuple[str, Any]]:
    return [(value, value) for value, _label in choices] if name == "labeler" and not by_name else choices


def _rows(request: ProjectRequest, numbers: Sequence[int], *, by_name: bool) -> list[Row]:
    related = ("latest__rubric", "labeler", "task__prompt", "assignment", "ai_labeler")
    found = list(Judgment.objects.filter(pk__in=numbers).select_related(*related).order_by("-pk"))
    shown = {key for item in found for key in item.assignment.presentation}
    texts = dict(Response.objects.filter(pk__in=shown).order_by().values_list("pk", Left("text", EXCERPT + 1)))
    return [
        Row(
            judgment=item,
            line=judged_texts.line(item),
            labeler=item.labeler.display_name if by_name else pseudonyms.labeler_name(item.labeler, request.project),
            comment=item.latest.comment if item.latest else "",
            responses=[] if judged_texts.is_sensitive(item) else _responses(item, texts),
        )
        for item in found
    ]


def _responses(item: Judgment, texts: dict[int, str]) -> list[tuple[str, int | None, str]]:
    ranks = Ordering.stored(item.latest.tiers if item.latest else ()).ranks()
    found = [
        (chr(ord("A") + number), ranks.get(key), _excerpt(texts[key]))
        for number, key in enumerate(item.assignment.presentation)
        if key in texts
    ]
    return sorted(found, key=lambda row: (row[1] is None, row[1] or 0, row[0]))


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"


def _query(parameters: dict[str, str]) -> str:
    return "?" + urlencode(parameters)
