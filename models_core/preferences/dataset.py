"""What a reward model learns from and is measured on: files of judgments, read, split by prompt, and accounted for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_core.contract import processes, records, trained_prompts
from models_core.contract.errors import BadInput
from models_core.contract.prompt_identity import split_by_prompt
from models_core.contract.records import Answers, Demonstration, Ranking
from models_core.contract.settings import PreferenceSettings
from models_core.preferences.comparisons import Heard, Verdict, hear
from models_core.preferences.contradictions import prompt_key
from models_core.preferences.demonstrated_rankings import above_samples
from models_core.preferences.encoding import Example, examples
from models_core.preferences.skipped_rows import LeftOut


@dataclass(kw_only=True)
class Part:
    """The rankings of one side of the split, and what they say."""

    name: str
    rankings: list[Ranking]
    heard: Heard
    left_out: LeftOut
    verdicts: list[Verdict] = field(init=False)

    def __post_init__(self) -> None:
        self.verdicts = list(self.heard.verdicts)

    def nothing(self) -> str:
        """The sentence for a file that teaches nothing."""
        reasons = f" ({self.left_out.sentence()})" if self.left_out.counts else ""
        return f"{self.name}: no ranking has two different responses in a strict order{reasons}."


@dataclass(kw_only=True)
class Judgments:
    """Both sides of the split, and the answers whose scores say where 0 is and what 1 is, where they were given."""

    learned: Part
    held_out: Part
    demonstrations: list[Demonstration] | list[Answers] | None
    samples: list[Answers] | None
    demonstration_rankings: int
    also_learned: int

    def encoded(
        self, tokenizer: Any, *, settings: PreferenceSettings, max_length: int
    ) -> tuple[list[Example], list[Example]]:
        """Both sides as tokens. Raises BadInput where nothing is left to learn from."""
        sides = []
        for part in (self.learned, self.held_out):
            encoded = examples(
                part.verdicts, tokenizer=tokenizer, settings=settings, max_length=max_length, left_out=part.left_out
            )
            sides.append(encoded if _orders_any([pair for example in encoded for pair in example.pairs]) else [])
        learned, held_out = sides
        if not learned:
            raise BadInput(self.learned.nothing())
        if self.held_out.rankings and not held_out:
            processes.log_main(f"Nothing to measure on: {self.held_out.nothing()}")
        return learned, held_out

    def report(self) -> dict[str, Any]:
        """For result.json."""
        return {
            "demonstration_rankings": self.demonstration_rankings,
            "left_out": self.learned.left_out.report(),
            "held_out_left_out": self.held_out.left_out.report(),
            "contradictions": self.learned.heard.contradictions.report(),
            "held_out_prompts_also_learned": self.also_learned,
            "merged_turns": sum(ranking.merged_turns for ranking in self.learned.rankings),
        }


def read(
    settings: PreferenceSettings,
    *,
    data: str | Path,
    evaluation: str | Path | None,
    demonstrations: str | Path | None,
    samples: str | Path | None,
    known: frozenset[str] = frozenset(),
) -> Judgments:
    """`known`: digests of the prompts that the model has learned from before.

    What is measured on holds none of them, and none of those learned from now. Raises BadInput: for rows as the
    settings refuse them, for a file that orders nothing, and for an evaluation file of trained prompts alone.
    """
    # Needed only in the end, but what is wrong with these is said now, and not after hours of training.
    kind = "demonstrations" if settings.demonstration_pairs else "answers"
    demonstrated = None if demonstrations is None else records.read(demonstrations, kind)
    sampled = None if samples is None else records.read(samples, "answers")
    left_out, held_out_left_out = LeftOut(), LeftOut()
    rankings = _rankings(data, settings=settings, left_out=left_out)
    if evaluation is None:
        rankings, held_out_rankings = split_by_prompt(rankings, part=settings.held_out)
    else:
        held_out_rankings = _rankings(evaluation, settings=settings, left_out=held_out_left_out)
    measured_on = held_out_rankings
    held_out_rankings = _measurable(
        measured_on,
        known=known | _prompts(rankings),
        evaluation=evaluation,
        left_out=held_out_left_out,
    )
    learned = Part(
        name=Path(data).name,
        rankings=rankings,
        heard=hear(rankings, settings=settings, left_out=left_out),
        left_out=left_out,
    )
    held_out = Part(
        name=Path(data if evaluation is None else evaluation).name,
        rankings=held_out_rankings,
        heard=hear(held_out_rankings, settings=settings, left_out=held_out_left_out, combine=False),
        left_out=held_out_left_out,
    )
    if not _orders_any([pair for verdict in learned.verdicts for pair in verdict.pairs]):
        raise BadInput(learned.nothing())
    added: list[Verdict] = []
    if settings.demonstration_pairs:
        if demonstrated is None or sampled is None:
            raise BadInput("demonstration_pairs needs both --demonstrations and --samples.")
        added = above_samples(
            demonstrated,
            sampled,
            weight=settings.demonstration_pairs,
            held_out={prompt_key(ranking.messages) for ranking in held_out_rankings},
            left_out=left_out,
        )
    learned.verdicts += added
    return Judgments(
        learned=learned,
        held_out=held_out,
        demonstrations=demonstrated,
        samples=sampled,
        demonstration_rankings=len(added),
        also_learned=len(_prompts(measured_on) - _prompts(held_out_rankings)),
    )


def _prompts(rankings: Sequence[Ranking]) -> set[str]:
    return {trained_prompts.digest(ranking.messages) for ranking in rankings}


def _measurable(
    rankings: list[Ranking], *, known: frozenset[str], evaluation: str | Path | None, left_out: LeftOut
) -> list[Ranking]:
    """The rankings of prompts that nothing was learned from; the others are left out and counted."""
    kept = trained_prompts.without(rankings, known)
    if evaluation is not None and rankings and not kept:
        raise BadInput(
            f"{Path(evaluation).name}: the prompts of all {len(rankings)} rankings are trained on, so they cannot "
            "measure anything: give others with --eval, or none, and a part of --data is held out."
        )
    places = {id(ranking) for ranking in kept}
    for ranking in rankings:
        if id(ranking) not in places:
            left_out.add("trained_prompts", ranking.id)
    return kept


def _rankings(path: str | Path, *, settings: PreferenceSettings, left_out: LeftOut) -> list[Ranking]:
    unreadable: list[str] | None = [] if settings.unreadable_rows == "skip" else None
    rankings: list[Ranking] = records.read(path, "rankings", unreadable=unreadable)
    for sentence in unreadable or ():
        left_out.add("unreadable_rows", sentence)
    return rankings


def _orders_any(pairs: Sequence[Any]) -> bool:
    return any(pair.target == 1.0 for pair in pairs)
