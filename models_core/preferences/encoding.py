"""Comparisons as tokens: all comparisons of one prompt's responses in one example, so that each is computed once."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Ranking
from models_core.contract.settings import PreferenceSettings
from models_core.modeling import forward
from models_core.modeling.packing import Group
from models_core.preferences.comparisons import Comparison
from models_core.preferences.ranking_loss import Pair, RankedPairs
from models_core.preferences.skipped_rows import SkippedRows


@dataclass(frozen=True, kw_only=True)
class EncodedComparison:
    """A comparison of an example's responses: `pairs` are indices of them.

    `rows` are the rankings it comes from (several where judgments were combined). `indices[i][j]`: index in the example
    of response j of row i, None where it was skipped.
    """

    pairs: tuple[Pair, ...]
    weight: float
    rows: tuple[Ranking, ...]
    indices: tuple[tuple[int | None, ...], ...]


@dataclass(frozen=True)
class Example:
    """A prompt, its distinct responses as tokens, and all comparisons of them: one forward pass."""

    group: Group
    comparisons: list[EncodedComparison] = field(default_factory=list)

    @property
    def rankings(self) -> list[RankedPairs]:
        """Input of the loss."""
        return [RankedPairs(len(self.group.responses), item.pairs, item.weight) for item in self.comparisons]

    @property
    def weight(self) -> float:
        return sum(item.weight for item in self.comparisons)

    @property
    def pairs(self) -> list[Pair]:
        return [pair for item in self.comparisons for pair in item.pairs]


def encode_comparisons(
    comparisons: Sequence[Comparison],
    *,
    tokenizer: Any,
    settings: PreferenceSettings,
    max_length: int,
    skipped: SkippedRows,
) -> list[Example]:
    """Comparisons as tokens, those of one prompt in one example.

    A response beyond max_length counts as unranked. Pairs of equal tokens are dropped, and a comparison without a pair
    is skipped. Raises BadInput for what is too long, or leaves no pair, where the settings refuse that.
    """
    builders: dict[bytes, _ExampleBuilder] = {}
    for comparison in comparisons:
        row = comparison.rows[0]
        encoded = forward.encode_group(tokenizer, comparison.messages, comparison.texts, max_length=max_length)
        if encoded.is_cut and settings.long_prompts == "refuse":
            raise BadInput(f"The prompt of the row {row.id!r} is longer than max_length ({max_length}) allows.")
        if settings.long_responses == "refuse" and not all(encoded.fits):
            number = encoded.fits.index(False) + 1
            raise BadInput(
                f"Response {number} of the row {row.id!r} is longer than max_length ({max_length} tokens) allows."
            )
        skipped.add("truncated_prompts", row.id, times=int(encoded.is_cut))
        skipped.add("too_long_responses", row.id, times=encoded.fits.count(False))
        prompt = array("i", encoded.group.prompt)
        responses = iter(encoded.group.responses)
        kept = [array("i", next(responses)) if fits else None for fits in encoded.fits]
        pairs = [pair for pair in comparison.pairs if _differ(kept[pair.better], kept[pair.worse])]
        if not pairs:
            if settings.unusable_rows == "refuse":
                raise BadInput(f"The row {row.id!r} orders no two different responses that are short enough.")
            skipped.add("no_pair_fits", row.id)
            continue
        builder = builders.setdefault(prompt.tobytes(), _ExampleBuilder(prompt))
        indices = [None if tokens is None else builder.index(tokens) for tokens in kept]
        index_of = dict(zip(comparison.texts, indices, strict=True))
        builder.comparisons.append(
            EncodedComparison(
                pairs=tuple(_reindexed(pairs, indices)),
                weight=comparison.weight,
                rows=comparison.rows,
                indices=tuple(tuple(index_of[item.text] for item in source.responses) for source in comparison.rows),
            )
        )
    return [Example(Group(item.prompt, item.responses), item.comparisons) for item in builders.values()]


def with_mean_weight_one(examples: Sequence[Example]) -> list[Example]:
    """The examples with the comparisons' weights divided by their mean: weights leave the learning rate alone."""
    mean = fmean([item.weight for example in examples for item in example.comparisons])
    return [
        replace(example, comparisons=[replace(item, weight=item.weight / mean) for item in example.comparisons])
        for example in examples
    ]


class _ExampleBuilder:
    """The distinct responses of one prompt, in the order of their first occurrence."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self.prompt = prompt
        self.responses: list[Sequence[int]] = []
        self.comparisons: list[EncodedComparison] = []
        self._indices: dict[bytes, int] = {}

    def index(self, tokens: "array[int]") -> int:
        """Index of a response, which is added where it is new."""
        key = tokens.tobytes()
        if key not in self._indices:
            self._indices[key] = len(self.responses)
            self.responses.append(tokens)
        return self._indices[key]


def _differ(better: "array[int] | None", worse: "array[int] | None") -> bool:
    return better is not None and worse is not None and better != worse


def _reindexed(pairs: Sequence[Pair], indices: Sequence[int | None]) -> Iterator[Pair]:
    for pair in pairs:
        better, worse = indices[pair.better], indices[pair.worse]
        if better is not None and worse is not None:
            yield pair._replace(better=better, worse=worse)
