"""Verdicts as tokens: all that was said of one prompt's responses in one example, so that each is computed once."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from models_core.contract.errors import BadInput
from models_core.contract.records import Ranking
from models_core.contract.settings import PreferenceSettings
from models_core.modeling import forward
from models_core.modeling.packing import Group
from models_core.preferences.comparisons import Verdict
from models_core.preferences.skipped_rows import LeftOut
from models_core.rl.losses import Pair, RankedGroup


@dataclass(frozen=True, kw_only=True)
class PlacedVerdict:
    """A verdict on responses of an example: `pairs` are places in the example's responses.

    `rows` are the rankings it was made from (several where their judgments were combined). `places[i][j]` says where in
    the example's responses the response j of row i stands, None where it was left out.
    """

    pairs: tuple[Pair, ...]
    weight: float
    rows: tuple[Ranking, ...]
    places: tuple[tuple[int | None, ...], ...]


@dataclass(frozen=True)
class Example:
    """A prompt, its different responses as tokens, and every verdict on them: they all come out of one forward pass."""

    group: Group
    verdicts: list[PlacedVerdict] = field(default_factory=list)

    @property
    def rankings(self) -> list[RankedGroup]:
        """What the loss sees."""
        return [RankedGroup(len(self.group.responses), item.pairs, item.weight) for item in self.verdicts]

    @property
    def weight(self) -> float:
        return sum(item.weight for item in self.verdicts)

    @property
    def pairs(self) -> list[Pair]:
        return [pair for item in self.verdicts for pair in item.pairs]


def examples(
    verdicts: Sequence[Verdict], *, tokenizer: Any, settings: PreferenceSettings, max_length: int, left_out: LeftOut
) -> list[Example]:
    """Verdicts as tokens, those on one prompt in one example.

    Too long a response counts as not ranked. Pairs whose responses are the same tokens say nothing; a verdict that has
    no pair left is dropped. Raises BadInput for what is too long, or leaves no pair, where the settings refuse that.
    """
    made: dict[bytes, _Responses] = {}
    for verdict in verdicts:
        row = verdict.rows[0]
        encoded = forward.encode_group(tokenizer, verdict.messages, verdict.texts, max_length=max_length)
        if encoded.is_cut and settings.long_prompts == "refuse":
            raise BadInput(f"The prompt of the row {row.id!r} is longer than max_length ({max_length}) allows.")
        if settings.long_responses == "refuse" and not all(encoded.fits):
            number = encoded.fits.index(False) + 1
            raise BadInput(
                f"Response {number} of the row {row.id!r} is longer than max_length ({max_length} tokens) allows."
            )
        left_out.add("truncated_prompts", row.id, times=int(encoded.is_cut))
        left_out.add("too_long_responses", row.id, times=encoded.fits.count(False))
        prompt = array("i", encoded.group.prompt)
        responses = iter(encoded.group.responses)
        kept = [array("i", next(responses)) if fits else None for fits in encoded.fits]
        pairs = [pair for pair in verdict.pairs if _differ(kept[pair.better], kept[pair.worse])]
        if not pairs:
            if settings.unusable_rows == "refuse":
                raise BadInput(f"The row {row.id!r} orders no two different responses that are short enough.")
            left_out.add("no_pair_fits", row.id)
            continue
        example = made.setdefault(prompt.tobytes(), _Responses(prompt))
        places = [None if tokens is None else example.place(tokens) for tokens in kept]
        place_of = dict(zip(verdict.texts, places, strict=True))
        example.verdicts.append(
            PlacedVerdict(
                pairs=tuple(_placed(pairs, places)),
                weight=verdict.weight,
                rows=verdict.rows,
                places=tuple(tuple(place_of[item.text] for item in source.responses) for source in verdict.rows),
            )
        )
    return [Example(Group(item.prompt, item.responses), item.verdicts) for item in made.values()]


class _Responses:
    """The different responses of one prompt, as they are met."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self.prompt = prompt
        self.responses: list[Sequence[int]] = []
        self.verdicts: list[PlacedVerdict] = []
        self._places: dict[bytes, int] = {}

    def place(self, tokens: "array[int]") -> int:
        key = tokens.tobytes()
        if key not in self._places:
            self._places[key] = len(self.responses)
            self.responses.append(tokens)
        return self._places[key]


def _differ(better: "array[int] | None", worse: "array[int] | None") -> bool:
    return better is not None and worse is not None and better != worse


def _placed(pairs: Sequence[Pair], places: Sequence[int | None]) -> Iterator[Pair]:
    for pair in pairs:
        better, worse = places[pair.better], places[pair.worse]
        if better is not None and worse is not None:
            yield pair._replace(better=better, worse=worse)
