"""Train a reward model on rankings: a language model's trunk with a scalar head, and the K-wise pairwise loss.

This is the reward model of InstructGPT (Ouyang et al. 2022, section 3.5): every response of a ranking is scored once,
all its K(K-1)/2 pairs come out of those K scores, and each ranking counts once in the loss. The prompt is computed once
for its K responses, and the responses once for all people who ranked them. Rankings of one prompt are all on one side
of the held-out split. Left out: ensembles of heads, and margins by strength of preference other than the row's own
`margin`.

    python -m models_core reward --model smollm2-135m-instruct --data rankings.jsonl --out RUN
"""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models_core import distributed, language_models, methods, records, schedule, scoring
from models_core.batching import minibatches
from models_core.config import BadInput, RewardConfig
from models_core.held_out import split_by_prompt
from models_core.losses import Comparisons, Pair, RankedGroup, ranked_pairs, ranking_loss
from models_core.packing import Group, pack
from models_core.records import Ranking
from models_core.stopping import StopSignal
from models_core.training import Training

CALIBRATION_GROUPS = 64
"""Training rankings whose logits set shift and scale where no files for that are given."""


@dataclass(frozen=True)
class Example:
    """Responses to a prompt as tokens, and every ranking of them: several people's rankings cost one forward pass."""

    group: Group
    rankings: list[RankedGroup]

    @property
    def weight(self) -> float:
        return sum(ranking.weight for ranking in self.rankings)

    @property
    def pairs(self) -> list[Pair]:
        return [pair for ranking in self.rankings for pair in ranking.pairs]


def train(
    settings: RewardConfig,
    *,
    model: str,
    data: str | Path,
    out: str | Path,
    evaluation: str | Path | None = None,
    demonstrations: str | Path | None = None,
    samples: str | Path | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Train on rankings, leave the model in OUT/model, and return what result.json says of it.

    `evaluation` holds the rankings to measure on; without it a part of the prompts is held out. `demonstrations` and
    `samples` (answers of the reference) set the shift and the scale of scores. Raises BadInput, Stopped, Diverged.
    """
    # 1. Read the rankings and hold prompts out.
    files = {"rankings": data, "evaluation": evaluation, "demonstrations": demonstrations, "samples": samples}
    rankings = records.read(data, "rankings")
    if evaluation is None:
        rankings, held_out = split_by_prompt(rankings, part=settings.held_out)
    else:
        held_out = records.read(evaluation, "rankings")
    training = Training(
        out=out,
        stage="reward",
        settings=settings,
        models={"model": model},
        data={name: Path(path) for name, path in files.items() if path is not None},
        device=device,
        stop=stop,
        resume=resume,
    )

    # 2. Load the model, choose the weights that learn.
    tokenizer = language_models.load_tokenizer(model)
    network = language_models.new_reward_model(
        model,
        device=device,
        dtype=training.dtype,
        seed=settings.seed,
        head_scale=settings.head_scale,
        trunk_layers=settings.trunk_layers,
        quantise=settings.method == "qlora",
    )
    network = methods.prepare(network, settings, tokenizer=tokenizer)

    # 3. Turn the rankings into tokens. What cannot teach is left out and counted.
    max_length = min(settings.max_length, language_models.context_length(network))
    examples, left_out = encode(rankings, tokenizer=tokenizer, settings=settings, max_length=max_length)
    held_out_examples, _ = encode(held_out, tokenizer=tokenizer, settings=settings, max_length=max_length)
    if not examples:
        raise BadInput(f"{Path(data).name}: no ranking has two different responses in a strict order.")
    training.optimizer("model", network, learning_rate=settings.learning_rate)
    training.restore()

    # 4. Train: a step is one minibatch of whole rankings, computed a few thousand tokens at a time.
    counts = [len(example.rankings) for example in examples]
    plan = minibatches(
        len(examples), size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, counts=counts
    )
    resumed_at = step = training.restored_step
    for step, rows in training.steps(plan):
        with training.step(step, total=len(plan)):
            loss, accuracy = accumulate(
                network, [examples[row] for row in rows], settings=settings, device=device, stop=stop
            )
            rate = schedule.rate(
                step - 1, steps=len(plan), peak=settings.learning_rate, warmup=settings.warmup, decay=True
            )
            norm = training.update("model", learning_rate=rate)
        measured = {}
        if settings.eval_every and held_out_examples:
            measured = training.measure(
                step,
                lambda: held_out_measures(measure(network, held_out_examples, settings, device)),
                by="eval_loss",
            )
        training.run.log(step, loss=loss, accuracy=accuracy, learning_rate=rate, gradient_norm=norm, **measured)
        training.between_steps(step, total=len(plan))

    # 5. Measure what will be saved, on prompts that were not trained on.
    best = training.take_best()
    network = methods.settled(network)
    trained = sum(counts[row] for rows in plan[resumed_at:step] for row in rows)
    metrics: dict[str, Any] = {
        "rankings": sum(counts),
        **left_out,
        "trained_parameters": methods.trainable_parameters(network),
        "precision": training.precision,
        "seconds": training.seconds,
        "rankings_per_s": trained / training.seconds if training.seconds else None,
        **{name: value for name, value in best.items() if name == "best_step"},
        **(measure(network, held_out_examples, settings, device) if held_out_examples else {"accuracy": None}),
    }

    # 6. Put scores on a scale: demonstrations at 0 on average, samples of the reference with deviation 1.
    calibration = calibrate(
        network, examples, demonstrations, samples, tokenizer=tokenizer, settings=settings, max_length=max_length,
        device=device,
    )  # fmt: skip
    metrics |= calibration

    # 7. Save.
    language_models.save_reward_model(
        training.run.model,
        network,
        tokenizer,
        reward_shift=calibration["reward_shift"],
        reward_scale=calibration["reward_scale"],
    )
    return training.finish(metrics)


def encode(
    rankings: Sequence[Ranking], *, tokenizer: Any, settings: RewardConfig, max_length: int
) -> tuple[list[Example], dict[str, int]]:
    """Rankings as tokens, those of the same responses in one example, and counts of what was left out.

    Too long a response counts as not ranked. Pairs whose responses are the same tokens say nothing; a ranking that has
    no pair left is dropped.
    """
    examples: dict[tuple[Any, ...], Example] = {}
    too_long = equal_pairs = dropped = truncated = 0
    for ranking in rankings:
        texts = [response.text for response in ranking.responses]
        group, fits, is_cut = scoring.encode_group(tokenizer, ranking.messages, texts, max_length=max_length)
        if is_cut and settings.long_prompts == "refuse":
            raise BadInput(f"The prompt of the row {ranking.id!r} is longer than max_length ({max_length}) allows.")
        truncated += is_cut
        too_long += fits.count(False)
        ranks = [response.rank for response, fit in zip(ranking.responses, fits, strict=True) if fit]
        pairs = ranked_pairs(ranks, ties="half" if settings.ties == "half" else "skip")
        different = [pair for pair in pairs if group.responses[pair.better] != group.responses[pair.worse]]
        equal_pairs += len(pairs) - len(different)
        if not different or ranking.weight <= 0:
            dropped += 1
            continue
        margin = (ranking.margin or 0.0) if settings.use_margin else 0.0
        same_tokens = (tuple(group.prompt), *map(tuple, group.responses))
        example = examples.setdefault(same_tokens, Example(group, []))
        example.rankings.append(RankedGroup(len(group.responses), different, ranking.weight, margin))
    left_out = {
        "dropped_rankings": dropped,
        "dropped_equal_pairs": equal_pairs,
        "too_long_responses": too_long,
        "truncated_prompts": truncated,
        "merged_turns": sum(ranking.merged_turns for ranking in rankings),
    }
    return list(examples.values()), left_out


def accumulate(
    network: Any, examples: Sequence[Example], *, settings: RewardConfig, device: torch.device, stop: StopSignal
) -> tuple[float, float]:
    """Add the gradient of one minibatch; returns its loss and the part of its pairs in the right order.

    The loss is divided by the minibatch's weight before each backward pass: its cut into micro-batches changes nothing.
    """
    total_weight = sum(example.weight for example in examples)
    loss_sum, right, pairs = 0.0, 0.0, 0.0
    lengths = [example.group.tokens for example in examples]
    for batch, counts in distributed.shares(lengths, budget=settings.micro_batch_tokens):
        stop.check()
        members = [examples[position] for position in batch]
        logits = scoring.reward_logits(network, pack([example.group for example in members], device=device))
        comparisons = Comparisons.of([example.rankings for example in members], device=device)
        loss = ranking_loss(logits, comparisons) / total_weight * counts
        loss.backward()
        loss_sum += loss.item()
        strict = comparisons.target == 1.0
        difference = (logits[comparisons.better] - logits[comparisons.worse])[strict]
        right += counts * ((difference > 0).sum().item() + 0.5 * (difference == 0).sum().item())
        pairs += counts * int(strict.sum())
    sums = distributed.summed(torch.tensor([loss_sum, right, pairs], dtype=torch.float64, device=device)).tolist()
    loss_sum, right, pairs = sums
    return loss_sum, right / max(pairs, 1)


def measure(network: Any, examples: Sequence[Example], settings: RewardConfig, device: torch.device) -> dict[str, Any]:
    """Accuracy on held-out rankings with its 95% bootstrap interval, and that of "the longer answer wins".

    Rankings are resampled, not pairs: the pairs of one ranking share their responses and are not independent.
    """
    groups = [example.group for example in examples]
    logits = scoring.group_logits(network, groups, budget=settings.micro_batch_tokens, device=device)
    flat = torch.tensor([logit for row in logits for logit in row], device=device)
    loss = ranking_loss(flat, Comparisons.of([example.rankings for example in examples], device=device))
    right = [order_agreement(row, example.pairs) for row, example in zip(logits, examples, strict=True)]
    longer = [order_agreement([len(ids) for ids in example.group.responses], example.pairs) for example in examples]
    low, high = bootstrap_interval(right)
    return {
        "accuracy": _ratio(right),
        "accuracy_low": low,
        "accuracy_high": high,
        "longer_wins_accuracy": _ratio(longer),
        "eval_loss": loss.item() / sum(example.weight for example in examples),
        "eval_rankings": sum(len(example.rankings) for example in examples),
        "eval_pairs": sum(pairs for _, pairs in right),
    }


def held_out_measures(measured: Mapping[str, Any]) -> dict[str, float]:
    """What is followed along the way: less loss is better."""
    return {"eval_accuracy": measured["accuracy"], "eval_loss": measured["eval_loss"]}


def order_agreement(scores: Sequence[float], pairs: Sequence[Pair]) -> tuple[float, int]:
    """(pairs in the right order, strict pairs); equal scores are half right."""
    strict = [pair for pair in pairs if pair.target == 1.0]
    right = sum(
        1.0 if scores[pair.better] > scores[pair.worse] else 0.5 if scores[pair.better] == scores[pair.worse] else 0.0
        for pair in strict
    )
    return right, len(strict)


def bootstrap_interval(counts: Sequence[tuple[float, int]], *, resamples: int = 1000) -> tuple[float, float]:
    """95% percentile interval of sum(right) / sum(pairs) under resampling of the rankings, with a fixed seed."""
    generator = random.Random(0)
    ratios = sorted(_ratio(generator.choices(counts, k=len(counts))) for _ in range(resamples))
    return ratios[int(0.025 * resamples)], ratios[int(0.975 * resamples)]


def _ratio(counts: Sequence[tuple[float, int]]) -> float:
    return sum(right for right, _ in counts) / max(sum(pairs for _, pairs in counts), 1)


def calibrate(
    network: Any,
    examples: Sequence[Example],
    demonstrations: str | Path | None,
    samples: str | Path | None,
    *,
    tokenizer: Any,
    settings: RewardConfig,
    max_length: int,
    device: torch.device,
) -> dict[str, Any]:
    """Shift and scale of scores: mean logit of demonstrations, standard deviation over samples of the reference.

    A reward model's loss leaves its level free; Stiennon et al. 2020 put the reference summaries at 0. Without these
    files the responses that were trained on stand in for either, which `calibrated_on` says.
    """

    def logits_of(path: str | Path | None) -> list[float]:
        if path is None:
            groups = [example.group for example in examples[:CALIBRATION_GROUPS]]
        else:
            rows = records.read(path, "answers")
            encoded = [scoring.encode_group(tokenizer, row.messages, row.texts, max_length=max_length) for row in rows]
            groups = [row.group for row in encoded]
        rows_of_logits = scoring.group_logits(network, groups, budget=settings.micro_batch_tokens, device=device)
        return [logit for row in rows_of_logits for logit in row]

    shifting = logits_of(demonstrations)
    scaling = shifting if samples is None and demonstrations is None else logits_of(samples)
    deviation = statistics.pstdev(scaling) if scaling else 0.0
    return {
        "reward_shift": statistics.fmean(shifting) if shifting else 0.0,
        "reward_scale": deviation if deviation > 1e-6 else 1.0,
        "calibrated_on": {
            "shift": "training responses" if demonstrations is None else "demonstrations",
            "scale": "training responses" if samples is None else "samples",
        },
    }
