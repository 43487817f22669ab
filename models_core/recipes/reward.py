"""Train a reward model on rankings: a language model's trunk with a scalar head, and the K-wise pairwise loss.

This is the reward model of InstructGPT (Ouyang et al. 2022, section 3.5): every response of a ranking is scored once,
all its K(K-1)/2 pairs come out of those K scores, and each ranking counts once in the loss. The prompt is computed once
for its K responses, and a response once for all people who ranked it. Rankings of one prompt are all on one side of the
held-out split.

    python -m models_core reward --model smollm2-135m-instruct --data rankings.jsonl --out RUN
"""

import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models_core.contract import trained_prompts
from models_core.contract.errors import BadInput
from models_core.contract.settings import RewardConfig
from models_core.contract.stopping import StopSignal
from models_core.modeling import adapters, chat, forward, heads, loading
from models_core.modeling.packing import sharing_for
from models_core.preferences import calibration, dataset, ensemble_disagreement, head_init, heldout_accuracy
from models_core.preferences.encoding import Example
from models_core.reward_report import assembly, previous_model
from models_core.reward_report.scored_judgments import of_examples
from models_core.rl.losses import Comparisons, in_order, ranking_loss
from models_core.training import ddp, distributed, gradient_cache, schedule
from models_core.training.batching import minibatches
from models_core.training.loop import Training


def train(
    settings: RewardConfig,
    *,
    model: str,
    data: str | Path,
    out: str | Path,
    evaluation: str | Path | None = None,
    demonstrations: str | Path | None = None,
    samples: str | Path | None = None,
    previous: str | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Train on rankings, leave the model in OUT/model, and return what result.json says of it.

    `evaluation` holds the rankings to measure on; without it a part of the prompts is held out. `demonstrations` and
    `samples` (answers of the reference) set the shift and the scale of scores. `previous`, the reward model in use
    until now, is measured on what is new to it. Raises BadInput, Stopped, Diverged.
    """
    # 1. Read the judgments, hold prompts out, and hear what they say. What cannot teach is left out and counted.
    files = {"rankings": data, "evaluation": evaluation, "demonstrations": demonstrations, "samples": samples}
    judgments = dataset.read(
        settings,
        data=data,
        evaluation=evaluation,
        demonstrations=demonstrations,
        samples=samples,
        known=trained_prompts.read(loading.locate(model)),
    )
    everyone = [*judgments.learned.rankings, *judgments.held_out.rankings]
    new = previous_model.since(previous, everyone) if previous is not None else None
    training = Training(
        out=out,
        stage="reward",
        settings=settings,
        models={"model": model} | ({"previous": previous} if previous is not None else {}),
        data={name: Path(path) for name, path in files.items() if path is not None},
        device=device,
        stop=stop,
        resume=resume,
    )

    # 2. Load the model, choose the weights that learn.
    tokenizer = loading.load_tokenizer(model)
    chat.give_template(tokenizer, name=model, chat_template=settings.chat_template)
    network = loading.new_reward_model(
        model,
        device=device,
        dtype=training.dtype,
        seed=settings.seed,
        head_scale=settings.head_scale,
        head_count=settings.ensemble,
        trunk_layers=settings.trunk_layers,
        quantise=settings.method == "qlora",
    )
    network = adapters.prepare(network, settings, tokenizer=tokenizer)

    # 3. Turn what they say into tokens, everything about one prompt together.
    max_length = min(settings.max_length, loading.context_length(network))
    train_examples, held_out = judgments.encoded(tokenizer, settings=settings, max_length=max_length)
    scaled_by = [
        calibration.encoded(
            rows, tokenizer=tokenizer, settings=settings, max_length=max_length, left_out=judgments.learned.left_out
        )
        for rows in (judgments.demonstrations, judgments.samples)
    ]
    logits = partial(forward.group_logits, network, budget=settings.max_tokens_per_forward, device=device)
    if not training.run.resumed:
        check_scores(logits([train_examples[0].group]), name=model)
    if settings.head_init == "fitted" and not (training.run.resumed or loading.is_reward_model(model)):
        head_init.fit(
            network,
            train_examples,
            budget=settings.max_tokens_per_forward,
            device=device,
            seed=settings.seed,
            bootstrap=settings.bootstrap,
        )
    optimizer = training.optimizer("model", network, learning_rate=settings.learning_rate)
    training.restore()

    # 4. Train: a step is one minibatch of whole prompts, computed a few thousand tokens at a time.
    counts = [len(example.verdicts) for example in train_examples]
    plan = minibatches(
        len(train_examples), size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, counts=counts
    )
    resumed_at = step = training.restored_step
    for step, rows in training.steps(plan):
        with training.step(step, total=len(plan)):
            minibatch = [train_examples[row] for row in rows]
            loss, right = accumulate(
                network,
                minibatch,
                settings=settings,
                device=device,
                stop=stop,
                is_sharded=training.is_sharded,
                backward=optimizer.backward,
            )
            rate = schedule.rate(
                step - 1, steps=len(plan), peak=settings.learning_rate, warmup=settings.warmup_ratio, decay=True
            )
            norm = training.update("model", learning_rate=rate)
        along_the_way = {}
        if settings.eval_every and held_out:
            along_the_way = training.measure(
                step,
                lambda: heldout_accuracy.followed(held_out, logits([example.group for example in held_out])),
                by="eval_loss",
            )
        training.run.log(step, loss=loss, accuracy=right, learning_rate=rate, gradient_norm=norm, **along_the_way)
        training.between_steps(step, total=len(plan))

    # 5. Measure what will be saved, on prompts that were not trained on.
    best = training.load_best()
    network = adapters.merge_adapters(network)
    heads.settle(network)
    head_logits = partial(forward.group_head_logits, network, budget=settings.max_tokens_per_forward, device=device)
    opinions = head_logits([example.group for example in held_out])
    held_out_logits = [row.mean(-1).tolist() for row in opinions]
    trained = sum(counts[row] for rows in plan[resumed_at:step] for row in rows)
    metrics: dict[str, Any] = {
        "rankings": sum(counts),
        **judgments.report(),
        "trained_parameters": adapters.trainable_parameters(network),
        "precision": training.precision,
        "seconds": training.seconds,
        "rankings_per_s": trained / training.seconds if training.seconds else None,
        **{name: value for name, value in best.items() if name == "best_step"},
        **({"eval_loss": heldout_accuracy.followed(held_out, held_out_logits)["eval_loss"]} if held_out else {}),
    }

    # 6. Put scores on a scale: demonstrations at 0 on average, samples of the reference with deviation 1.
    metrics |= calibration.measured(
        head_logits,
        examples=train_examples,
        demonstrations=scaled_by[0],
        samples=scaled_by[1],
    )
    heads.level(network, shifts=metrics.pop("head_shifts"), scale=metrics["reward_scale"])
    if settings.ensemble > 1:
        scores = [heads.scores(network, row) for row in opinions]
        metrics |= {"ensemble": settings.ensemble} | ensemble_disagreement.measures(held_out, scores)

    # 7. Report how good it is, and how the one before does on what is new to it.
    judged = of_examples(held_out, opinions)
    reading = {"max_length": settings.max_length, "budget": settings.max_tokens_per_forward}
    report = assembly.build(
        judged,
        everyone=everyone,
        shift=metrics["reward_shift"],
        scale=metrics["reward_scale"],
        newest=previous_model.measure(new, now=judged, device=device, dtype=training.dtype, **reading) if new else None,
    )
    assembly.write(training.run.path, report)
    metrics |= assembly.headline(report)

    # 8. Save.
    loading.save_reward_model(
        training.run.model,
        network,
        tokenizer,
        reward_shift=metrics["reward_shift"],
        reward_scale=metrics["reward_scale"],
        trained_on={trained_prompts.digest(verdict.messages) for verdict in judgments.learned.verdicts}
        | trained_prompts.read(loading.locate(model)),
    )
    return training.finish(metrics)


def check_scores(logits: Sequence[Sequence[float]], *, name: str) -> None:
    """Raise BadInput where the model's scores are no numbers before a single step was taken."""
    if not all(math.isfinite(logit) for row in logits for logit in row):
        raise BadInput(f"The scores of {name} on the first ranking are not finite numbers: its weights are damaged.")


def accumulate(
    network: Any,
    minibatch: Sequence[Example],
    *,
    settings: RewardConfig,
    device: torch.device,
    stop: StopSignal,
    is_sharded: bool = False,
    backward: ddp.Backward = ddp.backward,
) -> tuple[float, float]:
    """Add the gradient of one minibatch; returns its loss and the part of its pairs in the right order.

    The loss is divided by the minibatch's weight before each backward pass: its cut into micro-batches changes nothing.
    An ensemble's is the mean of its heads'.
    """
    total_weight = sum(example.weight for example in minibatch)
    loss_sum, right, pairs = 0.0, 0.0, 0.0
    sharing = sharing_for(network, settings.prefix_sharing)
    lengths = [example.group.cost(sharing) for example in minibatch]
    # Under fsdp all processes gather each layer as often as each other, so no prompt is cut there.
    largest = sys.maxsize if is_sharded else settings.max_tokens_per_forward
    for share in distributed.micro_batches_for_rank(lengths, budget=settings.max_tokens_per_forward):
        stop.check()
        members = [minibatch[position] for position in share.rows]
        comparisons = Comparisons.of([example.rankings for example in members], device=device)
        learned = bootstrapped(comparisons, members, settings=settings)
        loss, logits = gradient_cache.backward(
            network,
            [example.group for example in members],
            partial(mean_loss, comparisons=learned, part=share.weight / total_weight),
            budget=largest,
            sharing=sharing,
            device=device,
            is_last=share.is_last,
            add_gradient=backward,
        )
        loss_sum += loss.item()
        differences = comparisons.differences(logits.mean(-1))
        right += share.weight * in_order(differences).sum().item()
        pairs += share.weight * len(differences)
    sums = distributed.all_reduce_sum(
        torch.tensor([loss_sum, right, pairs], dtype=torch.float64, device=device)
    ).tolist()
    loss_sum, right, pairs = sums
    return loss_sum, right / max(pairs, 1)


def mean_loss(logits: Tensor, *, comparisons: Comparisons, part: float) -> Tensor:
    """`part` of the heads' mean loss, of which the comparisons' rankings are the sum: [responses, heads] -> scalar."""
    return ranking_loss(logits.T, comparisons).mean() * part


def bootstrapped(comparisons: Comparisons, members: Sequence[Example], *, settings: RewardConfig) -> Comparisons:
    """The comparisons as the heads of an ensemble learn from them: each from its own draw of the prompts."""
    if settings.ensemble == 1 or not settings.bootstrap:
        return comparisons
    times = [heads.draws(member.group.prompt, count=settings.ensemble, seed=settings.seed) for member in members]
    return heads.drawn(comparisons, [member.rankings for member in members], times)
