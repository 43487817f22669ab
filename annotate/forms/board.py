"""The ranking board: what a labeler is shown of a task, and what he enters read back as a submission.

Fields, per response id R: `rank-R` ("1" best, "" not ranked), `rating-R-CRITERION`, `flag-R` (once for each flag set);
and once: `all_unacceptable`, `margin`, `comment`, `seconds`, `rubric`, `client_id`. A draft is the same fields as
{name: [values]}, so the page that comes back after a reload, a refusal or a lost connection is made by the same code.
"""

import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import Refused
from ..models import Assignment, JudgmentRevision, Prompt, Response, Rubric
from ..ordering import Ordering
from ..submission import Submission

Entered = Mapping[str, list[str]]
# Kept in a draft and nowhere else: everything else that a form sends is of no use the next time.
_DRAFT_PREFIXES = ("rank-", "rating-", "flag-")
_DRAFT_FIELDS = ("all_unacceptable", "margin", "comment", "seconds", "skip_reason", "skip_note")


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Rating:
    """One criterion of the rubric for one answer, with its scale as choices."""

    field: str
    label: str
    help: str
    choices: list[Choice]


@dataclass(frozen=True, slots=True)
class Answer:
    """One response as a labeler sees it: a letter and a text. Nothing here says who wrote it."""

    id: int
    letter: str
    text: str
    rank: str
    ranks: list[Choice]
    ratings: list[Rating]
    flags: list[Choice]


class Board:
    """An assignment of the comparing kind, with what was entered so far."""

    def __init__(self, assignment: Assignment, *, entered: Entered | None = None) -> None:
        self.assignment = assignment
        # A draft is stored JSON: only what has the shape of a form's fields is taken from it.
        self._entered = entered if entered is not None else _draft_fields(assignment.draft)
        # New at each showing, so that going back and judging again is a revision and a double click is not.
        self.client_id = uuid.uuid4()

    @property
    def prompt(self) -> Prompt:
        prompt = self.assignment.task.prompt
        if prompt is None:
            raise ValueError(f"comparison task {self.assignment.task_id} has no prompt")
        return prompt

    @cached_property
    def rubric(self) -> Rubric | None:
        return self.assignment.project.rubric

    @cached_property
    def answers(self) -> list[Answer]:
        responses = Response.objects.in_bulk(self.assignment.presentation)
        return [
            self._answer(responses[key], letter)
            for key, letter in zip(self.assignment.presentation, string.ascii_uppercase, strict=False)
        ]

    @property
    def all_unacceptable(self) -> bool:
        return bool(self._last("all_unacceptable"))

    @property
    def comment(self) -> str:
        return self._last("comment")

    @property
    def seconds(self) -> str:
        return self._last("seconds")

    @property
    def skip_note(self) -> str:
        return self._last("skip_note")

    @property
    def margins(self) -> list[Choice]:
        """How much better the better one is: asked where two answers are compared."""
        if len(self.assignment.presentation) != 2:
            return []
        margin = JudgmentRevision.Margin
        return [
            Choice(str(level.value), str(level.label), self._last("margin") == str(level.value))
            for level in sorted(margin, reverse=True)
        ]

    def _last(self, name: str) -> str:
        values = self._entered.get(name) or [""]
        return values[-1]

    def _answer(self, response: Response, letter: str) -> Answer:
        rank = self._last(f"rank-{response.pk}")
        ranks = [str(number) for number in range(1, len(self.assignment.presentation) + 1)]
        rank = rank if rank in ranks else ""
        criteria = self.rubric.criteria if self.rubric else []
        flagged = self._entered.get(f"flag-{response.pk}") or []
        return Answer(
            id=response.pk,
            letter=letter,
            text=response.text,
            rank=rank,
            ranks=[Choice(number, number, number == rank) for number in ranks],
            ratings=[self._rating(response.pk, criterion) for criterion in criteria],
            flags=[
                Choice(flag["name"], flag["label"], flag["name"] in flagged)
                for flag in (self.rubric.flags if self.rubric else [])
            ],
        )

    def _rating(self, response_id: int, criterion: dict[str, Any]) -> Rating:
        field = f"rating-{response_id}-{criterion['name']}"
        scale = [str(number) for number in range(criterion["min"], criterion["max"] + 1)]
        choices = [Choice(value, value, value == self._last(field)) for value in scale]
        return Rating(field=field, label=criterion["label"], help=criterion.get("help", ""), choices=choices)


def draft(entered: Entered) -> dict[str, list[str]]:
    """What of a form's fields is worth keeping as a draft."""
    return {
        name: values for name, values in entered.items() if name in _DRAFT_FIELDS or name.startswith(_DRAFT_PREFIXES)
    }


def submission(entered: Entered) -> Submission:
    """The form's fields as a submission. Raises Refused (400) for what no page sends; the queue checks the rest."""

    def last(name: str) -> str:
        return (entered.get(name) or [""])[-1]

    ranks: dict[int, int | None] = {}
    ratings: dict[str, dict[str, int]] = {}
    flags: dict[str, list[str]] = {}
    for name, values in entered.items():
        kind, _, rest = name.partition("-")
        if kind == "rank":
            ranks[_number(rest, "An answer")] = _number(values[-1], "A rank") if values[-1] else None
        elif kind == "rating" and values[-1]:
            response_id, _, criterion = rest.partition("-")
            ratings.setdefault(response_id, {})[criterion] = _number(values[-1], "A rating", negative=True)
        elif kind == "flag":
            flags[rest] = values
    try:
        client_id = uuid.UUID(last("client_id"))
        seconds = float(last("seconds")) if last("seconds") else None
    except ValueError:
        raise Refused("The form came incomplete. Reload the page: your draft is kept.", status=400) from None
    return Submission(
        client_id=client_id,
        tiers=Ordering.from_ranks(ranks).tiers,
        all_unacceptable=bool(last("all_unacceptable")),
        ratings=ratings,
        flags=flags,
        margin=_number(last("margin"), "A margin") if last("margin") else None,
        comment=last("comment"),
        seconds=seconds,
        rubric_id=_number(last("rubric"), "A rubric") if last("rubric") else None,
    )


def skip_reason(entered: Entered) -> str:
    """The chosen reason and what was written beside it, as one text."""
    parts = [(entered.get(name) or [""])[-1].strip() for name in ("skip_reason", "skip_note")]
    return ": ".join(part for part in parts if part)


def _draft_fields(stored: Any) -> Entered:
    if not isinstance(stored, dict):
        return {}
    return {
        name: values
        for name, values in stored.items()
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values)
    }


def _number(text: str, what: str, *, negative: bool = False) -> int:
    digits = text[1:] if negative and text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise Refused(f"{what} is named by a whole number.", status=400)
    return int(text)
