"""Train a policy on rankings without a reward model and without sampling: direct preference optimisation.

DPO (Rafailov et al. 2023, 2305.18290) is what PPO is compared with: the same judgments, one stage instead of two. The
policy is its own reward model, r(y) = beta (log pi(y) - log pi_ref(y)), and learns by the loss that reward models
learn by (equation 7), over all strictly ordered pairs of a ranking as `reward` has them. What the reference says of the
rankings is computed once, before the first step, so that it takes no memory while the policy learns.

    python -m models_core dpo --model SFT --data rankings.jsonl --out RUN
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models_core.contract.errors import Diverged
from models_core.contract.settings import DPOConfig
from models_core.contract.stopping import StopSignal
from models_core.modeling import adapters, chat, forward, loading
from models_core.modeling.packing import sharing_for
from models_core.preferences import dataset, heldout_accuracy
from models_core.preferences.encoding import Example
from models_core.rl.actor_critic import check_reference
from models_core.rl.losses import Comparisons, in_order, ranking_loss
from models_core.training import ddp, distributed, gradient_cache, schedule
from models_core.training.batching import minibatches
from models_core.training.loop import Training


@dataclass(frozen=True)
class Referred:
    """A prompt's rankings, and the reference's log-probability of each of its responses: [responses]."""

    example: Example
    log_probs: Tensor


def train(
    settings: DPOConfig,
    *,
    model: str,
    data: str | Path,
    out: str | Path,
    reference: str | None = None,
    evaluation: str | Path | None = None,
    demonstrations: str | Path | None = None,
    samples: str | Path | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Train on rankings, leave the policy in OUT/model, and return what result.json says of it.

    `reference` is what the policy is kept close to, by default the model itself. `evaluation` holds the rankings to
    measure on; without it a part of the prompts is held out. Raises BadInput, Stopped, Diverged.
    """
    # 1. Read the judgments, hold prompts out, and hear what they say. What cannot teach is left out and counted.
    files = {"rankings": data, "evaluation": evaluation, "demonstrations": demonstrations, "samples": samples}
    judgments = dataset.read(settings, data=data, evaluation=evaluation, demonstrations=demonstrations, samples=samples)
    reference = reference or model
    training = Training(
        out=out,
        stage="dpo",
        settings=settings,
        models={"model": model, "reference": reference},
        data={name: Path(path) for name, path in files.items() if path is not None},
        device=device,
        stop=stop,
        resume=resume,
    )

    # 2. Load the policy, choose the weights that learn.
    tokenizer = loading.load_tokenizer(model)
    chat.give_template(tokenizer, name=model, chat_template=settings.chat_template)
    load = partial(loading.load_policy, device=device, dtype=training.dtype, quantise=settings.method == "qlora")
    network: Any = adapters.prepare(load(model), settings, tokenizer=tokenizer)

    # 3. Turn what they say into tokens, and hear the reference on them: before the first weight moves it may be the
    #    policy itself.
    max_length = min(settings.max_length, loading.context_length(network))
    learned, held_out = judgments.encoded(tokenizer, settings=settings, max_length=max_length)
    if loading.is_same(reference, model):
        frozen = network
        hearing = adapters.adapter_off(network) if adapters.keeps_base(settings.method) else contextlib.nullcontext()
    else:
        check_reference(reference, model=model, tokenizer=tokenizer)
        frozen, hearing = load(reference), contextlib.nullcontext()
    with hearing:
        examples, measured = (referred(frozen, part, settings, device) for part in (learned, held_out))
    del frozen
    optimizer = training.optimizer("model", network, learning_rate=settings.learning_rate)
    training.restore()

    # 4. Train: a step is one minibatch of whole prompts, computed a few thousand tokens at a time.
    counts = [len(item.example.verdicts) for item in examples]
    plan = minibatches(
        len(examples), size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, counts=counts
    )
    resumed_at = step = training.restored_step
    for step, rows in training.steps(plan):
        with training.step(step, total=len(plan)):
            minibatch = [examples[row] for row in rows]
            losses = accumulate(
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
        if measured:
            along_the_way = training.measure(
                step, partial(followed, network, measured, settings=settings, device=device), by="eval_loss"
            )
        training.run.log(step, **losses, learning_rate=rate, gradient_norm=norm, **along_the_way)
        training.between_steps(step, total=len(plan))

    # 5. Take the best weights, save.
    best = training.load_best()
    network = adapters.merge_adapters(network)
    trained = sum(counts[row] for rows in plan[resumed_at:step] for row in rows)
    metrics: dict[str, Any] = {
        "rankings": sum(counts),
        **judgments.report(),
        **best,
        "trained_parameters": adapters.trainable_parameters(network),
        "precision": training.precision,
        "seconds": training.seconds,
        "rankings_per_s": trained / training.seconds if training.seconds else None,
    }
    loading.save_policy(training.run.model, network, tokenizer)
    return training.finish(metrics)


def referred(network: Any, examples: Sequence[Example], settings: DPOConfig, device: torch.device) -> list[Referred]:
    """What a model says of every response, each process of its own part of them. Raises Diverged."""
    groups = [example.group for example in examples]
    sharing = sharing_for(network, "auto")
    own = distributed.rows_of_rank([group.cost(sharing) for group in groups])
    said = forward.group_log_probs(
        network, [groups[row] for row in own], budget=settings.max_tokens_per_forward, device=device
    )
    every = distributed.all_gather(dict(zip(own, said, strict=True)))
    if not all(part.isfinite().all() for part in every.values()):
        raise Diverged("The reference's log-probability of a response is not a finite number: its weights are damaged.")
    return [Referred(example, every[row]) for row, example in enumerate(examples)]


def accumulate(
    network: Any,
    minibatch: Sequence[Referred],
    *,
    settings: DPOConfig,
    device: torch.device,
    stop: StopSignal,
    is_sharded: bool = False,
    backward: ddp.Backward = ddp.backward,
) -> dict[str, float]:
    """Add the gradient of one minibatch; returns its loss, the part of its pairs in the right order, and how far
    apart better and worse responses are in the policy's own reward.

    The loss is divided by the minibatch's weight before each backward pass: its cut into micro-batches changes nothing.
    """
    total_weight = sum(item.example.weight for item in minibatch)
    sums = torch.zeros(4, dtype=torch.float64)
    sharing = sharing_for(network, settings.prefix_sharing)
    costs = [item.example.group.cost(sharing) for item in minibatch]
    # Under fsdp all processes gather each layer as often as each other, so no prompt is cut there.
    largest = sys.maxsize if is_sharded else settings.max_tokens_per_forward
    for share in distributed.micro_batches_for_rank(costs, budget=settings.max_tokens_per_forward):
        stop.check()
        members = [minibatch[position] for position in share.rows]
        comparisons = Comparisons.of([item.example.rankings for item in members], device=device)
        rewards_of = partial(
            implicit_rewards, reference=torch.cat([item.log_probs for item in members]), beta=settings.beta
        )
        loss, log_probs = gradient_cache.backward(
            network,
            [item.example.group for item in members],
            partial(_mean_loss, rewards_of, comparisons, share.weight / total_weight),
            budget=largest,
            sharing=sharing,
            device=device,
            is_last=share.is_last,
            add_gradient=backward,
            scores_of=forward.sequence_log_probs,
        )
        margins = comparisons.differences(rewards_of(log_probs))
        right = in_order(margins).sum()
        sums += torch.stack(
            [loss, share.weight * right, share.weight * margins.sum(), loss.new_tensor(share.weight * len(margins))]
        ).double().cpu()  # fmt: skip
    loss_sum, right_sum, apart, pairs = distributed.all_reduce_sum(sums.to(device)).tolist()
    return {"loss": loss_sum, "accuracy": right_sum / max(pairs, 1), "reward_margin": apart / max(pairs, 1)}


def implicit_rewards(log_probs: Tensor, *, reference: Tensor, beta: float) -> Tensor:
    """beta (log pi(y) - log pi_ref(y)), the reward that the policy is optimal for: [responses, 1] -> [responses].

    Rafailov et al. 2023, equation 5, without the part that all responses to a prompt share.
    """
    return beta * (log_probs.squeeze(-1) - reference.to(log_probs))


def _mean_loss(rewards_of: Any, comparisons: Comparisons, part: float, log_probs: Tensor) -> Tensor:
    """`part` of the loss of the comparisons' rankings in sum: [responses, 1] -> scalar."""
    return ranking_loss(rewards_of(log_probs), comparisons) * part


def followed(
    network: Any, measured: Sequence[Referred], *, settings: DPOConfig, device: torch.device
) -> dict[str, float]:
    """Loss and accuracy on held-out rankings."""
    groups = [item.example.group for item in measured]
    said = forward.group_log_probs(network, groups, budget=settings.max_tokens_per_forward, device=device)
    rewards = [
        implicit_rewards(own.unsqueeze(-1), reference=item.log_probs, beta=settings.beta).tolist()
        for own, item in zip(said, measured, strict=True)
    ]
    return heldout_accuracy.followed([item.example for item in measured], rewards)
