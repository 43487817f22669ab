"""The ranking board: the form of a comparison, shown to a labeler and read back as a submission.

Fields, per response R (on a page its key, see response_keys; in here its id): `rank-R` ("1" best, "" not ranked),
`rating-R-CRITERION`, `flag-R` (once for each flag set), `note-R`; and once: `all_unacceptable`, `margin`, `preference`
("R:MARGIN", the better one of a pair and by how much, or "tie"), `improved_from`, `improved_text`, `comment`,
`seconds`, `rubric`, `client_id`.
"""

import string
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from django.db.models import QuerySet
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.forms.controls import Option, checkboxes, radios
from annotate.forms.task_forms import FormData, TaskForm, client_id_and_seconds, last
from annotate.labeling.model_self_identification import mask_names, names_itself
from annotate.labeling.ordering import Ordering
from annotate.labeling.rubric import translated
from annotate.labeling.submissions import Submission
from annotate.models import JudgmentRevision, Project, Prompt, Response, Rubric
from annotate.models.prepared_queries import prepared_query

# The fields that a draft keeps; the others, such as `client_id`, belong to one showing of the form.
_DRAFT_PREFIXES = ("rank-", "rating-", "flag-", "note-")
_DRAFT_FIELDS = {
    *("all_unacceptable", "margin", "preference", "improved_from", "improved_text"),
    *("comment", "seconds", "skip_reason", "skip_note"),
}
_MOST_OPEN_FLAGS = 4
# A scale of more points than these is a number to type.
_MOST_STOPS = 11


@dataclass(frozen=True, slots=True)
class Rating:
    """One criterion of the rubric for one response: a row of radio buttons, or a number where the scale is long."""

    field: str
    label: str
    help: str
    low: int
    high: int
    value: str
    stops: SafeString | None
    top: str
    bottom: str
    """What the highest and the lowest point mean, always in sight."""
    anchors: list[tuple[int, str]]
    """Every point that has a meaning of its own, the highest first."""


@dataclass(frozen=True, slots=True)
class ControlLabels:
    """Accessible names of a response's controls."""

    better: str
    worse: str
    ranks: str
    flags: str
    note: str

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, letter: str, language: str) -> "ControlLabels":
        """Cached: a board of nine responses asks for forty-five of these."""
        with_letter = {"letter": letter}
        return cls(
            better=_("%(letter)s one rank better") % with_letter,
            worse=_("%(letter)s one rank worse") % with_letter,
            ranks=_("Rank of response %(letter)s, 1 is best") % with_letter,
            flags=_("Flags of response %(letter)s") % with_letter,
            note=_("Note on response %(letter)s") % with_letter,
        )


@dataclass(frozen=True, slots=True)
class ResponseCard:
    """One response as a labeler sees it: a letter, a text, and the key that the page's fields are named by.

    Nothing here says who wrote it. `names_itself`: the text does.
    """

    id: str
    letter: str
    labels: ControlLabels
    text: str
    names_itself: bool
    rank: str
    ranks: SafeString
    ratings: list[Rating]
    flags: SafeString
    flags_open: bool
    """A long list of flags is folded until one is set."""
    note: str


@prepared_query
def _texts(numbers: tuple[int, ...]) -> QuerySet[Response]:
    return Response.objects.filter(pk__in=numbers).order_by().only("text")


class Board(TaskForm):
    """The form of a comparison."""

    template = "annotate/work/board.html"
    # The dock has tiers to drag responses into, and a box for "all unacceptable".
    tiers = True

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
    def written_texts(self) -> list[str]:
        """The responses' texts as they were written, in the order in which they are shown."""
        texts = {found.pk: found.text for found in _texts.all(numbers=tuple(self.assignment.presentation))}
        return [texts[number] for number in self.assignment.presentation]

    def shown(self, text: str) -> str:
        """A response's text as the project lets labelers see it."""
        return mask_names(text) if self.assignment.project.mask_model_names else text

    @cached_property
    def responses(self) -> list[ResponseCard]:
        letters = zip(self._letters, self.written_texts, strict=False)
        return [self._card(response_id, letter, text) for (response_id, letter), text in letters]

    @property
    def scales(self) -> list[Rating]:
        """The criteria with an explanation, or with points that mean more than the two ends that every scale shows."""
        ratings = self.responses[0].ratings if self.responses else []
        return [rating for rating in ratings if rating.help or len(rating.anchors) > 2]

    @property
    def count(self) -> int:
        return len(self.assignment.presentation)

    @property
    def ranks(self) -> range:
        return range(1, self.count + 1)

    @property
    def all_unacceptable(self) -> bool:
        return bool(self.last("all_unacceptable"))

    @property
    def improved_from(self) -> str:
        return self._key_of("improved_from")

    @property
    def improved_text(self) -> str:
        written = self.last("improved_text")
        return mask_names(written) if self.assignment.project.mask_model_names else written

    @property
    def margins(self) -> SafeString | None:
        """How much better the better one of a pair is, where `preferences` doesn't ask for it."""
        if self.count != 2 or self._asks_by_slider:
            return None
        levels = sorted(JudgmentRevision.Margin, reverse=True)
        options = [Option(str(level.value), str(level.label)) for level in levels]
        return radios("margin", options, chosen=self.last("margin"))

    @property
    def preferences(self) -> SafeString | None:
        """One scale from the first response of a pair to the second: order and margin at once."""
        if self.count != 2 or not self._asks_by_slider:
            return None
        (first, _letter), (second, _other) = self._letters
        levels = sorted(JudgmentRevision.Margin)
        stops = [
            *((first, "A", level) for level in reversed(levels)),
            None,
            *((second, "B", level) for level in levels),
        ]
        options = []
        for stop in stops:
            if stop is None:
                options.append(Option("tie", "=", aria_label=_("Equally good")))
                continue
            key, letter, level = stop
            aria_label = _("%(letter)s: %(margin)s") % {"letter": letter, "margin": level.label}
            value = f"{self.response_keys.key(key)}:{level.value}"
            options.append(Option(value, str(level.value + 1), aria_label=aria_label, title=aria_label))
        return radios("preference", options, chosen=self._key_of("preference"))

    @property
    def _asks_by_slider(self) -> bool:
        return self.assignment.project.margin_input == Project.MarginInput.SLIDER

    @property
    def _letters(self) -> list[tuple[int, str]]:
        return list(zip(self.assignment.presentation, string.ascii_uppercase, strict=False))

    @cached_property
    def _rank_options(self) -> list[Option]:
        numbers = [Option(str(number), str(number)) for number in self.ranks]
        return [*numbers, Option("", "–", aria_label=_("Not ranked"), title=_("Not ranked"))]

    @cached_property
    def _flag_options(self) -> list[Option]:
        flags = self.rubric.flags if self.rubric else []
        return [
            Option(flag["name"], translated(flag["label"]), title=translated(flag.get("help", ""))) for flag in flags
        ]

    def _key_of(self, name: str) -> str:
        """The value of a field that names a response, as the page names it."""
        return last(self.response_keys.to_keys({name: [self.last(name)]}), name)

    def _card(self, response_id: int, letter: str, text: str) -> ResponseCard:
        rank = self.last(f"rank-{response_id}")
        rank = rank if rank in {str(number) for number in self.ranks} else ""
        key = self.response_keys.key(response_id)
        flagged = self.data.get(f"flag-{response_id}") or []
        return ResponseCard(
            id=key,
            letter=letter,
            labels=ControlLabels.of(letter, get_language() or ""),
            text=self.shown(text),
            names_itself=bool(names_itself(text)),
            rank=rank,
            ranks=radios(f"rank-{key}", self._rank_options, chosen=rank),
            ratings=[
                self._rating(response_id, criterion) for criterion in (self.rubric.criteria if self.rubric else [])
            ],
            flags=checkboxes(f"flag-{key}", self._flag_options, chosen=flagged),
            flags_open=bool(flagged) or len(self._flag_options) <= _MOST_OPEN_FLAGS,
            note=self.last(f"note-{response_id}"),
        )

    def _rating(self, response_id: int, criterion: dict[str, Any]) -> Rating:
        field = f"rating-{self.response_keys.key(response_id)}-{criterion['name']}"
        low, high = criterion["min"], criterion["max"]
        value = self.last(f"rating-{response_id}-{criterion['name']}")
        stops = None
        meanings = {int(point): translated(meaning) for point, meaning in criterion.get("anchors", {}).items()}
        if high - low < _MOST_STOPS:
            # The best first, as ranks have it.
            numbers = [
                Option(str(number), str(number), aria_label=f"{number}: {meanings[number]}", title=meanings[number])
                if number in meanings
                else Option(str(number), str(number))
                for number in range(high, low - 1, -1)
            ]
            none = Option("", "–", aria_label=_("Not rated"), title=_("Not rated"))
            stops = radios(field, [*numbers, none], chosen=value)
        return Rating(
            field=field,
            label=translated(criterion["label"]),
            help=translated(criterion.get("help", "")),
            low=low,
            high=high,
            value=value,
            stops=stops,
            top=meanings.get(high) or _("best"),
            bottom=meanings.get(low) or _("worst"),
            anchors=sorted(meanings.items(), reverse=True),
        )

    @classmethod
    def draft(cls, data: FormData) -> dict[str, list[str]]:
        """The fields to keep as a draft."""
        return {
            name: values for name, values in data.items() if name in _DRAFT_FIELDS or name.startswith(_DRAFT_PREFIXES)
        }

    @classmethod
    def submission(cls, data: FormData) -> Submission:
        """The form's fields as a submission. Raises Refused (400) for what no page sends; the queue checks the rest."""
        return _submission(data)

    @classmethod
    def initial_data(cls, revision: JudgmentRevision) -> dict[str, list[str]]:
        """The fields that a revision came from, so that it can be changed or given again."""
        ranks = Ordering.stored(revision.tiers).ranks()
        fields = {f"rank-{key}": [str(rank)] for key, rank in ranks.items()}
        fields |= {f"flag-{key}": list(names) for key, names in revision.flags.items()}
        fields |= {f"note-{key}": [note] for key, note in revision.notes.items()}
        fields |= {
            f"rating-{key}-{name}": [str(value)]
            for key, ratings in revision.ratings.items()
            for name, value in ratings.items()
        }
        if revision.margin is not None:
            fields["margin"] = [str(revision.margin)]
            best = revision.tiers[0] if revision.tiers else []
            fields["preference"] = [f"{best[0]}:{revision.margin}" if len(best) == 1 else "tie"]
        if improved := revision.content.get("improved"):
            fields |= {"improved_from": [str(improved["response"])], "improved_text": [improved["text"]]}
        once = {"comment": revision.comment, "seconds": revision.seconds, "all_unacceptable": revision.all_unacceptable}
        return fields | {name: ["1" if value is True else str(value)] for name, value in once.items() if value}


def _submission(data: FormData) -> Submission:
    ranks: dict[int, int | None] = {}
    ratings: dict[str, dict[str, int]] = {}
    flags: dict[str, list[str]] = {}
    notes: dict[str, str] = {}
    for name, values in data.items():
        kind, _dash, rest = name.partition("-")
        if kind == "rank":
            ranks[_number(rest, _("A response"))] = _number(values[-1], _("A rank")) if values[-1] else None
        elif kind == "rating" and values[-1]:
            response_id, _dash, criterion = rest.partition("-")
            ratings.setdefault(response_id, {})[criterion] = _number(values[-1], _("A rating"), negative=True)
        elif kind == "flag":
            flags[rest] = values
        elif kind == "note" and values[-1].strip():
            notes[rest] = values[-1].replace("\r\n", "\n")
    client_id, seconds = client_id_and_seconds(data)
    margin = _number(last(data, "margin"), _("A margin")) if last(data, "margin") else None
    if last(data, "preference"):
        ranks, margin = _preference(last(data, "preference"), list(ranks))
    improved = {}
    if last(data, "improved_from") and last(data, "improved_text").strip():
        improved = {
            "response": _number(last(data, "improved_from"), _("A response")),
            "text": last(data, "improved_text"),
        }
    return Submission(
        client_id=client_id,
        tiers=Ordering.from_ranks(ranks).tiers,
        all_unacceptable=bool(last(data, "all_unacceptable")),
        ratings=ratings,
        flags=flags,
        notes=notes,
        content={"improved": improved} if improved else {},
        margin=margin,
        comment=last(data, "comment"),
        seconds=seconds,
        rubric_id=_number(last(data, "rubric"), _("A rubric")) if last(data, "rubric") else None,
    )


def _preference(stop: str, pair: list[int]) -> tuple[dict[int, int | None], int]:
    """A stop of the scale as ranks and margin."""
    if stop == "tie":
        return dict.fromkeys(pair, 1), 0
    better, _colon, margin = stop.partition(":")
    better_id = _number(better, _("A response"))
    return {key: 1 if key == better_id else 2 for key in {*pair, better_id}}, _number(margin, _("A margin"))


def _number(text: str, what: str, *, negative: bool = False) -> int:
    digits = text[1:] if negative and text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise Refused(_("%(what)s is named by a whole number.") % {"what": what}, status=400)
    return int(text)
