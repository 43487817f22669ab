"""Preference data of a run: files of judgments, read, split by prompt, and accounted for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_core.contract.errors import BadInput
from models_core.contract.rows import row_parser, trained_prompts
from models_core.contract.rows.prompt_identity import digest, hold_out
from models_core.contract.rows.records import Demonstration, PromptResponses, Ranking
from models_core.contract.runs import processes
from models_core.contract.settings import PreferenceSettings
from models_core.preferences.comparisons import Comparison, ParsedComparisons, build_comparisons
from models_core.preferences.demonstrated_rankings import demonstration_comparisons
from models_core.preferences.encoding import Example, encode_comparisons, with_mean_weight_one
from models_core.preferences.ranking_loss import Pair
from models_core.preferences.skipped_rows import SkippedRows


@dataclass(kw_only=True)
class Side:
    """The rankings of one side of the split, and the comparisons made from them. `name`: of the file."""

    name: str
    rankings: list[Ranking]
    parsed: ParsedComparisons
    skipped: SkippedRows
    comparisons: list[Comparison] = field(init=False)

    def __post_init__(self) -> None:
        self.comparisons = list(self.parsed.comparisons)

    def no_pair_sentence(self) -> str:
        """The sentence for a side without a strictly ordered pair."""
        reasons = f" ({self.skipped.sentence()})" if self.skipped.counts else ""
        return f"{self.name}: no ranking has two different responses in a strict order{reasons}."


@dataclass(kw_only=True)
class PreferenceData:
    """Both sides of the split, and the responses for score calibration where they were given."""

    training: Side
    held_out: Side
    demonstrations: list[Demonstration] | list[PromptResponses] | None
    samples: list[PromptResponses] | None
    num_demonstration_comparisons: int
    num_trained_eval_prompts: int

    def encode(
        self, tokenizer: Any, *, settings: PreferenceSettings, max_length: int
    ) -> tuple[list[Example], list[Example]]:
        """(training, held-out) examples. Raises BadInput where no pair is left to train on."""
        sides = []
        for side in (self.training, self.held_out):
            examples = encode_comparisons(
                side.comparisons, tokenizer=tokenizer, settings=settings, max_length=max_length, skipped=side.skipped
            )
            sides.append(examples if _has_ordered([pair for example in examples for pair in example.pairs]) else [])
        training, held_out = sides
        if not training:
            raise BadInput(self.training.no_pair_sentence())
        if self.held_out.rankings and not held_out:
            processes.log_main(f"There is nothing to evaluate on: {self.held_out.no_pair_sentence()}")
        return with_mean_weight_one(training), held_out

    def report(self) -> dict[str, Any]:
        """For result.json."""
        return {
            "demonstration_rankings": self.num_demonstration_comparisons,
            "left_out": self.training.skipped.report(),
            "held_out_left_out": self.held_out.skipped.report(),
            "contradictions": self.training.parsed.contradictions.report(),
            "held_out_prompts_also_learned": self.num_trained_eval_prompts,
            "merged_turns": sum(ranking.merged_turns for ranking in self.training.rankings),
        }


def read(
    settings: PreferenceSettings,
    *,
    data: str | Path,
    evaluation: str | Path | None,
    demonstrations: str | Path | None,
    samples: str | Path | None,
    trained: frozenset[str] = frozenset(),
) -> PreferenceData:
    """Read and split the files. `trained`: digests of the prompts that the model was trained on before.

    The held-out side has none of those, and none of the training side. Raises BadInput for rows that the settings
    refuse, for a file without an ordered pair, and for an evaluation file of trained prompts alone.
    """
    # Read before training, although they are used after it: errors are reported now and not after hours.
    kind = "demonstrations" if settings.demonstration_pairs else "responses"
    demonstration_rows = None if demonstrations is None else row_parser.read(demonstrations, kind)
    sample_rows = None if samples is None else row_parser.read(samples, "responses")
    skipped, held_out_skipped = SkippedRows(), SkippedRows()
    rankings = _read_rankings(data, settings=settings, skipped=skipped)
    if evaluation is None:
        rankings, eval_rankings = hold_out(rankings, fraction=settings.held_out)
    else:
        eval_rankings = _read_rankings(evaluation, settings=settings, skipped=held_out_skipped)
    held_out_rankings = _drop_trained(
        eval_rankings,
        trained=trained | _prompt_digests(rankings),
        evaluation=evaluation,
        skipped=held_out_skipped,
    )
    training = Side(
        name=Path(data).name,
        rankings=rankings,
        parsed=build_comparisons(rankings, settings=settings, skipped=skipped),
        skipped=skipped,
    )
    held_out = Side(
        name=Path(data if evaluation is None else evaluation).name,
        rankings=held_out_rankings,
        parsed=build_comparisons(held_out_rankings, settings=settings, skipped=held_out_skipped, combine=False),
        skipped=held_out_skipped,
    )
    if not _has_ordered([pair for comparison in training.comparisons for pair in comparison.pairs]):
        raise BadInput(training.no_pair_sentence())
    added: list[Comparison] = []
    if settings.demonstration_pairs:
        if demonstration_rows is None or sample_rows is None:
            raise BadInput("demonstration_pairs needs both --demonstrations and --samples.")
        added = demonstration_comparisons(
            demonstration_rows,
            sample_rows,
            weight=settings.demonstration_pairs,
            held_out={digest(ranking.messages) for ranking in held_out_rankings},
            skipped=skipped,
        )
    training.comparisons += added
    return PreferenceData(
        training=training,
        held_out=held_out,
        demonstrations=demonstration_rows,
        samples=sample_rows,
        num_demonstration_comparisons=len(added),
        num_trained_eval_prompts=len(_prompt_digests(eval_rankings) - _prompt_digests(held_out_rankings)),
    )


def _prompt_digests(rankings: Sequence[Ranking]) -> set[str]:
    return {digest(ranking.messages) for ranking in rankings}


def _drop_trained(
    rankings: list[Ranking], *, trained: frozenset[str], evaluation: str | Path | None, skipped: SkippedRows
) -> list[Ranking]:
    """The rankings whose prompts are not trained on; the others are skipped and counted."""
    kept = trained_prompts.exclude(rankings, trained)
    if evaluation is not None and rankings and not kept:
        raise BadInput(
            f"{Path(evaluation).name}: the prompts of all {len(rankings)} rankings are trained on, so they cannot "
            "measure anything: give others with --eval, or none, and a part of --data is held out."
        )
    kept_ids = {id(ranking) for ranking in kept}
    for ranking in rankings:
        if id(ranking) not in kept_ids:
            skipped.add("trained_prompts", ranking.id)
    return kept


def _read_rankings(path: str | Path, *, settings: PreferenceSettings, skipped: SkippedRows) -> list[Ranking]:
    unreadable: list[str] | None = [] if settings.unreadable_rows == "skip" else None
    rankings: list[Ranking] = row_parser.read(path, "rankings", unreadable=unreadable)
    for sentence in unreadable or ():
        skipped.add("unreadable_rows", sentence)
    return rankings


def _has_ordered(pairs: Sequence[Pair]) -> bool:
    """Whether a pair is strictly ordered, and not a tie."""
    return any(pair.target == 1.0 for pair in pairs)
