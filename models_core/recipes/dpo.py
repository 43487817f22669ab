"""Train a policy on rankings without a reward model and without sampling: direct preference optimisation.

DPO (Rafailov et al. 2023, 2305.18290) is the baseline of PPO: the same judgments, one stage in place of two. The policy
is its own reward model, r(y) = beta (log pi(y) - log pi_ref(y)), trained with the loss of reward models (equation 7)
over all strictly ordered pairs of a ranking, as in `reward`. The reference's log-probabilities are computed once,
before the first step, so that the reference takes no memory during training.

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
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import DPOConfig
from models_core.modeling import adapters, chat, forward, forward_check, loading
from models_core.modeling.devices import to_device
from models_core.modeling.packing import sharing_for
from models_core.preferences import dataset
from models_core.preferences.encoding import Example
from models_core.preferences.heldout_accuracy import heldout_metrics
from models_core.preferences.ranking_loss import PairBatch, pair_correct, ranking_loss
from models_core.rl.actor_critic import check_reference
from models_core.training import ddp, distributed, gradient_cache, offload, schedule
from models_core.training.batching import minibatches
from models_core.training.loop import Training


@dataclass(frozen=True)
class ReferenceExample:
    """A prompt's rankings, and the reference's log-probability of each response: (responses,)."""

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
    """Train on rankings, save the policy in OUT/model, and return the metrics of result.json.

    `reference`: the model that the policy is kept close to (default: `model`). `evaluation`: rankings to evaluate on
    (default: a part of the prompts). Raises BadInput, Stopped, Diverged.
    """
    # 1. Read the judgments and hold prompts out. Rows without an ordered pair are skipped and counted.
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

    # 2. Load the policy and choose the trained weights.
    tokenizer = loading.load_tokenizer(model)
    chat.give_template(tokenizer, name=model, chat_template=settings.chat_template)
    load = partial(loading.load_policy, dtype=training.dtype, quantise=settings.method == "qlora")
    is_own_reference = loading.is_same(reference, model)
    # With offload_reference the policy waits in host memory for as long as a reference of its own computes.
    offloads = settings.offload_reference and not is_own_reference
    if offloads:
        offload.check(settings)
    host = offload.host_of(device, is_offloaded=offloads)
    network: Any = adapters.prepare(load(model, device=host), settings, tokenizer=tokenizer)

    # 3. Encode the comparisons, and compute the reference's log-probabilities. Before the first step the policy
    #    itself may be the reference.
    max_length = min(settings.max_length, loading.context_length(network))
    encoded, encoded_held_out = judgments.encode(tokenizer, settings=settings, max_length=max_length)
    adapter_off: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if is_own_reference:
        frozen = network
        if adapters.keeps_base(settings.method):
            adapter_off = adapters.adapter_off(network)
    else:
        check_reference(reference, model=model, tokenizer=tokenizer)
        frozen = load(reference, device=device)
    with adapter_off:
        examples, held_out = (add_reference(frozen, part, settings, device) for part in (encoded, encoded_held_out))
    del frozen
    if offloads:
        network.to(device)
        forward_check.forget(network)
    optimizer = training.optimizer("model", network, learning_rate=settings.learning_rate)
    training.restore()

    # 4. Train: a step is one minibatch of whole prompts, computed in micro-batches.
    counts = [len(item.example.comparisons) for item in examples]
    plan = minibatches(
        len(examples), size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, counts=counts
    )
    first_step = step = training.restored_step
    for step, rows in training.steps(plan):
        with training.step(step, total=len(plan)):
            minibatch = [examples[row] for row in rows]
            metrics = accumulate(
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
        if held_out:
            eval_metrics = training.measure(
                step, partial(evaluate, network, held_out, settings=settings, device=device), by="eval_loss"
            )
        training.run.log(step, **metrics, learning_rate=rate, gradient_norm=norm, **eval_metrics)
        training.between_steps(step, total=len(plan))

    # 5. Take the best weights and save them.
    best = training.load_best()
    network = adapters.merge_adapters(network)
    num_trained = sum(counts[row] for rows in plan[first_step:step] for row in rows)
    result: dict[str, Any] = {
        "rankings": sum(counts),
        **judgments.report(),
        **best,
        "trained_parameters": adapters.trainable_parameters(network),
        "precision": training.precision,
        "seconds": training.seconds,
        "rankings_per_s": num_trained / training.seconds if training.seconds else None,
    }
    training.gather(network)
    loading.save_policy(training.run.model, network, tokenizer)
    return training.finish(result)


def add_reference(
    network: Any, examples: Sequence[Example], settings: DPOConfig, device: torch.device
) -> list[ReferenceExample]:
    """Compute a model's log-probability of every response; processes share the work. Raises Diverged."""
    groups = [example.group for example in examples]
    sharing = sharing_for(network, "auto")
    own = distributed.rows_of_rank([group.cost(sharing) for group in groups])
    log_probs = forward.group_log_probs(
        network, [groups[row] for row in own], budget=settings.max_tokens_per_forward, device=device
    )
    gathered = distributed.all_gather(dict(zip(own, log_probs, strict=True)))
    if not all(part.isfinite().all() for part in gathered.values()):
        raise Diverged("The reference's log-probability of a response is not a finite number: its weights are damaged.")
    return [ReferenceExample(example, gathered[row]) for row, example in enumerate(examples)]


def accumulate(
    network: Any,
    minibatch: Sequence[ReferenceExample],
    *,
    settings: DPOConfig,
    device: torch.device,
    stop: StopSignal,
    is_sharded: bool = False,
    backward: ddp.Backward = ddp.backward,
) -> dict[str, float]:
    """Add the gradient of one minibatch; returns its loss, its accuracy and its mean margin of implicit rewards.

    The loss is divided by the minibatch's rankings before each backward pass, so the cut into micro-batches changes
    nothing. By their number and not their weight: a minibatch of light rankings has a small gradient.
    """
    num_rankings = sum(len(item.example.comparisons) for item in minibatch)
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    sharing = sharing_for(network, settings.prefix_sharing)
    costs = [item.example.group.cost(sharing) for item in minibatch]
    # Under FSDP all processes must gather each layer equally often, so no prompt is cut.
    budget = sys.maxsize if is_sharded else settings.max_tokens_per_forward
    for share in distributed.micro_batches_for_rank(costs, budget=settings.max_tokens_per_forward):
        stop.check()
        members = [minibatch[position] for position in share.rows]
        pairs = PairBatch.from_groups([item.example.rankings for item in members], device=device)
        reference = to_device(torch.cat([item.log_probs for item in members]), device)
        rewards_of = partial(implicit_rewards, reference=reference, beta=settings.beta)
        loss, log_probs = gradient_cache.backward(
            network,
            [item.example.group for item in members],
            partial(_scaled_loss, rewards_of, pairs, share.weight / num_rankings),
            budget=budget,
            sharing=sharing,
            device=device,
            is_last=share.is_last,
            add_gradient=backward,
            scores_of=forward.sequence_log_probs,
        )
        margins = pairs.differences(rewards_of(log_probs))
        correct = pair_correct(margins).sum()
        num_pairs = loss.new_full((), share.weight * len(margins))
        sums += torch.stack([loss, share.weight * correct, share.weight * margins.sum(), num_pairs]).double()
    loss_sum, num_correct, margin_sum, pairs_sum = distributed.all_reduce_sum(sums).tolist()
    return {
        "loss": loss_sum,
        "accuracy": num_correct / max(pairs_sum, 1),
        "reward_margin": margin_sum / max(pairs_sum, 1),
    }


def implicit_rewards(log_probs: Tensor, *, reference: Tensor, beta: float) -> Tensor:
    """beta (log pi(y) - log pi_ref(y)), the reward that the policy is optimal for.

    log_probs: (responses, 1), reference: (responses,) -> (responses,). Rafailov et al. 2023, equation 5, without the
    term that all responses to a prompt share.
    """
    return beta * (log_probs.squeeze(-1) - reference.to(log_probs))


def _scaled_loss(rewards_of: Any, pairs: PairBatch, factor: float, log_probs: Tensor) -> Tensor:
    """`factor` times the ranking loss: (responses, 1) -> scalar."""
    return ranking_loss(rewards_of(log_probs), pairs) * factor


def evaluate(
    network: Any, held_out: Sequence[ReferenceExample], *, settings: DPOConfig, device: torch.device
) -> dict[str, float]:
    """Loss and accuracy on held-out rankings."""
    groups = [item.example.group for item in held_out]
    log_probs = forward.group_log_probs(network, groups, budget=settings.max_tokens_per_forward, device=device)
    rewards = [
        implicit_rewards(row.unsqueeze(-1), reference=item.log_probs, beta=settings.beta).tolist()
        for row, item in zip(log_probs, held_out, strict=True)
    ]
    return heldout_metrics([item.example for item in held_out], rewards)
