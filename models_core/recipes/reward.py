"""Train a reward model on rankings: a language model's trunk with a scalar head, and the K-wise pairwise loss.

This is the reward model of InstructGPT (Ouyang et al. 2022, section 3.5): each response of a ranking is scored once,
all its K(K-1)/2 pairs come from those K scores, and each ranking has weight 1 in the loss. The prompt is computed once
for its K responses, and a response once for all labelers who ranked it. All rankings of a prompt are on one side of the
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

from models_core.contract.errors import BadInput
from models_core.contract.rows import prompt_identity, trained_prompts
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import RewardConfig
from models_core.modeling import adapters, chat, forward, heads, loading
from models_core.modeling.packing import sharing_for
from models_core.preferences import dataset, head_init, score_calibration
from models_core.preferences.bootstrap import bootstrap_weights, poisson_counts
from models_core.preferences.encoding import Example
from models_core.preferences.ensemble_disagreement import disagreement_metrics
from models_core.preferences.heldout_accuracy import heldout_metrics
from models_core.preferences.ranking_loss import PairBatch, pair_correct, ranking_loss
from models_core.reward_report import assembly, previous_model, scored_judgments
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
    """Train on rankings, save the model in OUT/model, and return the metrics of result.json.

    `evaluation`: rankings to evaluate on (default: a part of the prompts). `demonstrations` and `samples` (responses of
    the reference model) set shift and scale of scores. `previous`: the reward model used so far, which is evaluated on
    judgments that are new to it. Raises BadInput, Stopped, Diverged.
    """
    # 1. Read the judgments and hold prompts out. Rows without an ordered pair are skipped and counted.
    files = {"rankings": data, "evaluation": evaluation, "demonstrations": demonstrations, "samples": samples}
    judgments = dataset.read(
        settings,
        data=data,
        evaluation=evaluation,
        demonstrations=demonstrations,
        samples=samples,
        trained=trained_prompts.read(loading.locate(model)),
    )
    all_rankings = [*judgments.training.rankings, *judgments.held_out.rankings]
    new = previous_model.new_judgments(previous, all_rankings) if previous is not None else None
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

    # 2. Load the model and choose the trained weights.
    tokenizer = loading.load_tokenizer(model)
    chat.give_template(tokenizer, name=model, chat_template=settings.chat_template)
    network = loading.new_reward_model(
        model,
        device=training.loading_device,
        dtype=training.dtype,
        seed=settings.seed,
        head_scale=settings.head_scale,
        head_count=settings.ensemble,
        trunk_layers=settings.trunk_layers,
        quantise=settings.method == "qlora",
    )
    network = adapters.prepare(network, settings, tokenizer=tokenizer)
    training.shard(network)

    # 3. Encode the comparisons, those of one prompt together, and initialise the head.
    max_length = min(settings.max_length, loading.context_length(network))
    budget = settings.max_tokens_per_forward
    examples, held_out = judgments.encode(tokenizer, settings=settings, max_length=max_length)
    demonstration_groups, sample_groups = (
        score_calibration.encode_rows(
            rows, tokenizer=tokenizer, settings=settings, max_length=max_length, skipped=judgments.training.skipped
        )
        for rows in (judgments.demonstrations, judgments.samples)
    )
    logits = partial(forward.group_logits, network, budget=budget, device=device)
    if not training.run.resumed:
        check_finite(logits([examples[0].group]), name=model)
    if settings.head_init == "fitted" and not (training.run.resumed or loading.is_reward_model(model)):
        head_init.fit(network, examples, budget=budget, device=device, seed=settings.seed, bootstrap=settings.bootstrap)
    optimizer = training.optimizer("model", network, learning_rate=settings.learning_rate)
    training.restore()

    # 4. Train: a step is one minibatch of whole prompts, computed in micro-batches.
    counts = [len(example.comparisons) for example in examples]
    plan = minibatches(
        len(examples), size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, counts=counts
    )
    first_step = step = training.restored_step
    for step, rows in training.steps(plan):
        with training.step(step, total=len(plan)):
            minibatch = [examples[row] for row in rows]
            loss, accuracy = accumulate(
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
        eval_metrics = {}
        if settings.eval_every and held_out:
            eval_metrics = training.measure(
                step,
                lambda: heldout_metrics(held_out, logits([example.group for example in held_out])),
                by="eval_loss",
            )
        training.run.log(step, loss=loss, accuracy=accuracy, learning_rate=rate, gradient_norm=norm, **eval_metrics)
        training.between_steps(step, total=len(plan))

    # 5. Evaluate the model as it will be saved, on held-out prompts.
    best = training.load_best()
    network = adapters.merge_adapters(network)
    heads.average(network)
    head_logits = partial(forward.group_head_logits, network, budget=budget, device=device)
    held_out_logits = head_logits([example.group for example in held_out])
    mean_logits = [row.mean(-1).tolist() for row in held_out_logits]
    num_trained = sum(counts[row] for rows in plan[first_step:step] for row in rows)
    metrics: dict[str, Any] = {
        "rankings": sum(counts),
        **judgments.report(),
        "trained_parameters": adapters.trainable_parameters(network),
        "precision": training.precision,
        "seconds": training.seconds,
        "rankings_per_s": num_trained / training.seconds if training.seconds else None,
        **{name: value for name, value in best.items() if name == "best_step"},
        **({"eval_loss": heldout_metrics(held_out, mean_logits)["eval_loss"]} if held_out else {}),
    }

    # 6. Calibrate scores: mean 0 over demonstrations, standard deviation 1 over samples of the reference model.
    metrics |= score_calibration.calibrate_scores(
        head_logits, examples=examples, demonstrations=demonstration_groups, samples=sample_groups
    )
    heads.calibrate(network, shifts=metrics.pop("head_shifts"), scale=metrics["reward_scale"])
    if settings.ensemble > 1:
        head_scores = [heads.scores(network, row) for row in held_out_logits]
        metrics |= {"ensemble": settings.ensemble} | disagreement_metrics(held_out, head_scores)

    # 7. Report, with the previous reward model on judgments that are new to it.
    scored = scored_judgments.from_examples(held_out, held_out_logits)
    comparison = None
    if new is not None:
        comparison = previous_model.evaluate(
            new, current=scored, device=device, dtype=training.dtype, max_length=settings.max_length, budget=budget
        )
    report = assembly.build(
        scored,
        all_rankings=all_rankings,
        shift=metrics["reward_shift"],
        scale=metrics["reward_scale"],
        newest=comparison,
    )
    assembly.write(training.run.path, report)
    metrics |= assembly.headline(report)

    # 8. Save.
    trained_on = {prompt_identity.digest(comparison.messages) for comparison in judgments.training.comparisons}
    training.gather(network)
    loading.save_reward_model(
        training.run.model,
        network,
        tokenizer,
        reward_shift=metrics["reward_shift"],
        reward_scale=metrics["reward_scale"],
        trained_on=trained_on | trained_prompts.read(loading.locate(model)),
    )
    return training.finish(metrics)


def check_finite(logits: Sequence[Sequence[float]], *, name: str) -> None:
    """Raise BadInput where the model's scores are not finite before the first step."""
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
    """Add the gradient of one minibatch; returns its loss and its accuracy over ordered pairs.

    The loss is divided by the minibatch's rankings before each backward pass, so the cut into micro-batches changes
    nothing. By their number and not their weight: a minibatch of light rankings has a small gradient. The loss of an
    ensemble is the mean over its heads.
    """
    num_rankings = sum(len(example.comparisons) for example in minibatch)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    sharing = sharing_for(network, settings.prefix_sharing)
    costs = [example.group.cost(sharing) for example in minibatch]
    # Under FSDP all processes must gather each layer equally often, so no prompt is cut.
    budget = sys.maxsize if is_sharded else settings.max_tokens_per_forward
    for share in distributed.micro_batches_for_rank(costs, budget=settings.max_tokens_per_forward):
        stop.check()
        members = [minibatch[position] for position in share.rows]
        pairs = PairBatch.from_groups([example.rankings for example in members], device=device)
        loss, logits = gradient_cache.backward(
            network,
            [example.group for example in members],
            partial(
                scaled_loss,
                pairs=bootstrapped(pairs, members, settings=settings),
                factor=share.weight / num_rankings,
            ),
            budget=budget,
            sharing=sharing,
            device=device,
            is_last=share.is_last,
            add_gradient=backward,
        )
        differences = pairs.differences(logits.mean(-1))
        correct = share.weight * pair_correct(differences).sum().double()
        sums += torch.stack([loss.double(), correct, correct.new_full((), share.weight * len(differences))])
    loss_sum, num_correct, num_pairs = distributed.all_reduce_sum(sums).tolist()
    return loss_sum, num_correct / max(num_pairs, 1)


def scaled_loss(logits: Tensor, *, pairs: PairBatch, factor: float) -> Tensor:
    """`factor` times the mean over heads of the ranking loss: (responses, heads) -> scalar."""
    return ranking_loss(logits.T, pairs).mean() * factor


def bootstrapped(pairs: PairBatch, members: Sequence[Example], *, settings: RewardConfig) -> PairBatch:
    """The pairs with each head's bootstrap weights; unchanged for a single head."""
    if settings.ensemble == 1 or not settings.bootstrap:
        return pairs
    counts = [
        poisson_counts(member.group.prompt, num_heads=settings.ensemble, seed=settings.seed) for member in members
    ]
    return bootstrap_weights(pairs, [member.rankings for member in members], counts)
