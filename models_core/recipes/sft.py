"""Fine-tune a language model on demonstrations: next-token loss on what the assistant says.

The first stage of InstructGPT (Ouyang et al. 2022, section 3.5) and, without any step, PPO's reference. A row is the
prompt as the chat template writes it, the response's tokens, EOS; every token that is learned counts the same. Rows lie
end to end without padding, and none sees another. Several data sets are mixed by weight, worded by instruction
templates where there are any, and an old task may be kept alive in two ways: its demonstrations are replayed among the
new ones, or the weights it needs are held back (models_core.demonstrations.forgetting). An auxiliary language-model
loss is that of GPT-1 (Radford et al. 2018, equation 5).

    python -m models_core sft --model smollm2-135m-instruct --data demonstrations.jsonl --out RUN
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SFTConfig
from models_core.demonstrations import mixture
from models_core.demonstrations.data_files import DataSet, read_data_sets, read_rows, template_files, totals
from models_core.demonstrations.eval_loss import mean_loss
from models_core.demonstrations.examples import Encoder, Example
from models_core.demonstrations.forgetting import ElasticWeights
from models_core.demonstrations.mixture import Step
from models_core.demonstrations.token_losses import loss_positions, token_losses
from models_core.modeling import adapters, chat, loading
from models_core.modeling.devices import to_device
from models_core.training import ddp, distributed, schedule
from models_core.training.loop import Training


def train(
    settings: SFTConfig,
    *,
    model: str,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    evaluation: str | Path | None = None,
    templates: Sequence[str] = (),
    replay: str | Path | None = None,
    ewc: str | Path | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Train on demonstrations, leave the model in OUT/model, and return what result.json says of it.

    `templates` are files or names of built-in sets, "none" for none: one for all data files, or one each. `evaluation`
    holds the demonstrations to measure the loss on; without it a part of the prompts is held out. `replay` and `ewc`
    hold demonstrations of what the model learned before. Raises BadInput, Stopped, Diverged.
    """
    # 1. Read the demonstrations and hold prompts out. Nothing is written before all input is known to be good.
    files = [Path(path) for path in ([data] if isinstance(data, str | Path) else data)]
    wordings = template_files(templates, files=len(files))
    training = Training(
        out=out,
        stage="sft",
        settings=settings,
        models={"model": model},
        data=named_files(files, wordings, evaluation=evaluation, replay=replay, ewc=ewc),
        device=device,
        stop=stop,
        resume=resume,
    )
    sets = read_data_sets(files, templates=wordings, settings=settings, hold_out=evaluation is None)
    if evaluation is not None:
        sets[0].held_out = read_rows(Path(evaluation), templates=sets[0].templates)
    replayed = DataSet.of(replay, number=-1)
    old = DataSet.of(ewc, number=-2)

    # 2. Load the model, choose the weights that learn.
    tokenizer = loading.load_tokenizer(model)
    chat.complete(tokenizer, name=model, chat_template=settings.chat_template, pad_token=settings.pad_token)
    network: Any = loading.load_policy(
        model, device=training.loading_device, dtype=training.dtype, quantise=settings.method == "qlora"
    )
    network = adapters.prepare(network, settings, tokenizer=tokenizer)
    optimizer = training.optimizer("model", network, learning_rate=settings.learning_rate)

    # 3. Turn the rows into tokens, and those into the steps of the run.
    max_length = min(settings.max_length, loading.context_length(network))
    encoder = Encoder(tokenizer=tokenizer, settings=settings, max_length=max_length)
    sources = [rows.source(encoder, epochs=settings.epochs) for rows in sets]
    held_out = [example for rows in sets for example in rows.held_out_examples(encoder)]
    replay_source = replayed.source(encoder, epochs=settings.epochs) if replayed else None
    earlier = old or replayed
    old_examples = sample(earlier.examples(encoder) if earlier else [], settings=settings)
    plan = mixture.plan(sources, replay=replay_source, settings=settings)
    old_loss = measure_old(network, old_examples, settings=settings, device=device)
    check_loss(network, plan[0].new[0], name=model, device=device)

    # 4. Anchor the weights that the old task needs, before the first of them moves.
    elastic = None
    if old and training.is_sharded:
        raise BadInput("--ewc needs whole weights, which parallel=fsdp splits: take parallel=ddp.")
    if old:
        kept = training.run.checkpoints / "ewc.safetensors"
        if training.run.resumed and kept.exists():
            elastic = ElasticWeights.load(kept, coef=settings.ewc_lambda, device=device)
        else:
            elastic = ElasticWeights.of(
                network, old_examples, weights=optimizer.masters, coef=settings.ewc_lambda, seed=settings.seed,
                device=device, stop=stop,
            )  # fmt: skip
    done, state = training.restore()
    if elastic is not None:
        elastic.save(training.run.checkpoints / "ewc.safetensors")

    # 5. Train: a step is one minibatch of demonstrations, computed a few thousand tokens at a time.
    latest: dict[str, float] = state.get("latest", {})
    for done, step in training.steps(plan):
        with training.step(done, total=len(plan), state={"latest": latest}):
            losses = accumulate(network, step, settings=settings, device=device, stop=stop, backward=optimizer.backward)
            rate = schedule.rate(
                done - 1, steps=len(plan), peak=settings.learning_rate, warmup=settings.warmup_ratio, decay=True
            )
            norm = training.update(
                "model",
                learning_rate=rate,
                penalty=elastic.penalise if elastic else None,
            )
        latest = losses | ({"ewc_penalty": elastic.penalty} if elastic else {})
        measured = {}
        if held_out:
            measured = training.measure(
                done,
                lambda: {
                    "eval_loss": mean_loss(network, held_out, budget=settings.max_tokens_per_forward, device=device)
                },
                by="eval_loss",
                due=settings.patience > 0 and not settings.eval_every and step.ends_epoch,
            )
        training.run.log(done, **latest, learning_rate=rate, gradient_norm=norm, **measured)
        training.between_steps(done, total=len(plan), state={"latest": latest})

    # 6. Take the best weights, measure what was forgotten, save.
    best = training.load_best()
    network = adapters.merge_adapters(network)
    trained = sum(example.content for step in plan[:done] for example in [*step.new, *step.replayed])
    accounts = [rows.account for rows in sets]
    metrics: dict[str, Any] = {
        "demonstrations": sum(account.used for account in accounts),
        **{name: count for name, count in totals(accounts).items() if name not in ("rows", "used")},
        "data": {
            str(rows.path.name) if len(sets) == 1 else f"{rows.number + 1}: {rows.path.name}": rows.account.as_json()
            | {"weight": float(rows.weight)}
            for rows in sets
        },
        **({"replay": replayed.account.as_json()} if replayed else {}),
        "steps": done,
        "planned_steps": len(plan),
        **latest,
        **best,
        **forgotten(old_loss, measure_old(network, old_examples, settings=settings, device=device)),
        "trained_parameters": adapters.trainable_parameters(network),
        "precision": training.precision,
        "seconds": training.seconds,
        "tokens_per_s": trained / training.seconds if training.seconds else None,
    }
    training.gather(network)
    loading.save_policy(training.run.model, network, tokenizer)
    return training.finish(metrics)


def named_files(
    files: Sequence[Path],
    wordings: Sequence[Path | None],
    *,
    evaluation: str | Path | None,
    replay: str | Path | None,
    ewc: str | Path | None,
) -> dict[str, Path]:
    """Every file of the run by the name it has in the run folder: "demonstrations", "demonstrations-2" and so on."""
    numbered = {f"demonstrations-{number}": path for number, path in enumerate(files, start=1)}
    numbered |= {f"templates-{number}": path for number, path in enumerate(wordings, start=1) if path is not None}
    named = {name.removesuffix("-1"): path for name, path in numbered.items()}
    others = {"evaluation": evaluation, "replay": replay, "ewc": ewc}
    return named | {name: Path(path) for name, path in others.items() if path is not None}


def accumulate(
    network: Any,
    step: Step,
    *,
    settings: SFTConfig,
    device: torch.device,
    stop: StopSignal,
    backward: ddp.Backward = ddp.backward,
) -> dict[str, float]:
    """Add the gradient of one minibatch; returns its mean losses per token in nats: of what is learned of new rows, of
    replayed ones where there are any, and the auxiliary one.

    The gradient is that of the mean over all learned tokens, replayed or not, plus `lm_coef` times the mean over the
    tokens of `lm_scope`. Divided by the minibatch's tokens before each backward pass: its cut into micro-batches
    changes nothing.
    """
    examples = [*step.new, *step.replayed]
    new_tokens, replayed_tokens = (sum(example.loss_tokens for example in part) for part in (step.new, step.replayed))
    of_lm = sum(language_model_tokens(example, settings) for example in examples)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    lengths = [example.tokens for example in examples]
    for share in distributed.micro_batches_for_rank(lengths, budget=settings.max_tokens_per_forward):
        stop.check()
        members = [examples[position] for position in share.rows]
        at = loss_positions(members, whole_rows=settings.lm_coef > 0, device=device)
        losses = token_losses(network, members, at, device=device)
        in_lm = torch.ones_like(at.loss_mask) if settings.lm_scope == "row" else ~at.loss_mask
        weights = at.loss_mask / (new_tokens + replayed_tokens)
        if settings.lm_coef and of_lm:
            weights = weights + settings.lm_coef * in_lm / of_lm
        losses = losses * share.weight
        backward((losses * weights).sum(), is_last=share.is_last)
        is_new = torch.tensor([position < len(step.new) for position in share.rows])
        is_new = to_device(is_new.repeat_interleave(torch.tensor(at.sizes), output_size=len(at.tokens)), device)
        with torch.no_grad():
            parts = [losses * (at.loss_mask & is_new), losses * (at.loss_mask & ~is_new), losses * in_lm]
            sums += torch.stack([part.sum() for part in parts]).double()
    new, replayed, lm = distributed.all_reduce_sum(sums).tolist()
    return (
        {"loss": new / new_tokens}
        | ({"replay_loss": replayed / replayed_tokens} if replayed_tokens else {})
        | ({"lm_loss": lm / of_lm} if settings.lm_coef and of_lm else {})
    )


def language_model_tokens(example: Example, settings: SFTConfig) -> int:
    """Tokens of a row that the auxiliary loss is over; its first is predicted by nothing."""
    return example.tokens - 1 - (example.loss_tokens if settings.lm_scope == "prompt" else 0)


def check_loss(network: Any, example: Example, *, name: str, device: torch.device) -> None:
    """Raise BadInput where the model's loss is no number before a single step was taken."""
    at = loss_positions([example], whole_rows=False, device=device)
    with torch.no_grad():
        loss = token_losses(network, [example], at, device=device).sum()
    if not torch.isfinite(loss):
        raise BadInput(
            f"The loss of {name} on the first demonstration is not a finite number: its weights are damaged."
        )


def sample(examples: Sequence[Example], *, settings: SFTConfig) -> list[Example]:
    """At most `ewc_samples` of them, drawn by the seed."""
    if len(examples) <= settings.ewc_samples:
        return list(examples)
    return random.Random(f"{settings.seed}/old task").sample(list(examples), settings.ewc_samples)


def measure_old(
    network: Any, examples: Sequence[Example], *, settings: SFTConfig, device: torch.device
) -> float | None:
    """The loss on the sample of the old task, where there is one."""
    return mean_loss(network, examples, budget=settings.max_tokens_per_forward, device=device) if examples else None


def forgotten(before: float | None, after: float | None) -> Mapping[str, float | None]:
    """The old task's entries in result.json."""
    return {} if before is None else {"old_loss_before": before, "old_loss": after}
