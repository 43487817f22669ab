"""Teach a small model what a large one does: distillation.

Two objectives. `responses`: the student learns the teacher's responses as if they were demonstrations, sequence-level
distillation (Kim and Rush 2016, 1606.07947); the two may have different tokenizers. `logits`: on each token of a
response the student's distribution is drawn to the teacher's by the forward KL divergence at a temperature T, times T
squared so that gradients keep their size (Hinton et al. 2015, 1503.02531, section 2); both must have one vocabulary.
Of a response's tokens each counts the same. The teacher's responses are sampled once, before the first step.

    python -m models_core distil --model STUDENT --teacher TEACHER --data prompts.jsonl --out RUN
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models_core.commands import sample
from models_core.contract import atomic_write
from models_core.contract.errors import BadInput
from models_core.contract.rows import json_lines, prompt_identity, row_parser
from models_core.contract.rows.records import Messages
from models_core.contract.runs import processes
from models_core.contract.runs.progress import Ticker
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import DistilConfig, SampleConfig
from models_core.demonstrations.examples import Example, encode_response_row
from models_core.demonstrations.token_losses import loss_positions, predicting_states
from models_core.modeling import adapters, chat, forward, loading
from models_core.modeling.devices import to_device
from models_core.training import ddp, distributed, schedule
from models_core.training.batching import micro_batches, minibatches
from models_core.training.loop import Training

ResponseRow = tuple[Messages, str]
SAMPLED_AT_ONCE = 32


def train(
    settings: DistilConfig,
    *,
    model: str,
    teacher: str,
    data: str | Path,
    out: str | Path,
    evaluation: str | Path | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Train `model`, the student, on what `teacher` does, and return the metrics of result.json.

    `data`: prompts, or demonstrations where `response_source` is data. `evaluation`: the same, to measure the loss on;
    without it a part of the prompts is held out. Raises BadInput, Stopped, Diverged.
    """
    # 1. Read the rows and hold prompts out. Nothing is written before all input is known to be good.
    if settings.response_source == "data" and settings.objective == "responses":
        raise BadInput("Learning the data's own responses is fine-tuning: take sft, or objective=logits.")
    if settings.objective == "logits" and settings.parallel == "fsdp":
        raise BadInput("objective=logits needs whole weights, which parallel=fsdp splits: take parallel=ddp.")
    files = {"prompts": data, "evaluation": evaluation}
    training = Training(
        out=out,
        stage="distil",
        settings=settings,
        models={"model": model, "teacher": teacher},
        data={name: Path(path) for name, path in files.items() if path is not None},
        device=device,
        stop=stop,
        resume=resume,
    )
    kind = "demonstrations" if settings.response_source == "data" else "prompts"
    rows, held_out_rows = row_parser.read(data, kind), []
    if evaluation is not None:
        held_out_rows = row_parser.read(evaluation, kind)
    else:
        rows, held_out_rows = prompt_identity.hold_out(rows, fraction=settings.held_out)

    # 2. Load both models, and choose the weights of the student that learn.
    tokenizer = loading.load_tokenizer(model)
    chat.give_template(tokenizer, name=model, chat_template=settings.chat_template)
    if settings.objective == "logits":
        check_vocabulary(teacher, model=model, tokenizer=tokenizer)
    teaching: Any = loading.load_policy(teacher, device=device, dtype=training.dtype)
    network: Any = loading.load_policy(model, device=device, dtype=training.dtype, quantise=settings.method == "qlora")
    network = adapters.prepare(network, settings, tokenizer=tokenizer)

    # 3. The responses: those of the file, or the teacher's, which a resumed run finds where the first one left them.
    kept = training.run.checkpoints / "teacher.jsonl"
    if settings.response_source == "data":
        responses = [[(row.messages, row.response) for row in part] for part in (rows, held_out_rows)]
    elif training.run.resumed and kept.exists():
        responses = _read(kept)
    else:
        chats = [[row.messages for row in part] for part in (rows, held_out_rows)]
        responses = sample_teacher(teaching, teacher, chats, settings=settings, stop=stop)
    max_length = min(settings.max_length, loading.context_length(network))
    if settings.objective == "logits":
        max_length = min(max_length, loading.context_length(teaching))
    encode = partial(encode_response_row, tokenizer, max_length=max_length, long_prompts=settings.long_prompts)
    encoded = [[encode(messages, response) for messages, response in part] for part in responses]
    examples, held_out = ([example for example in part if example is not None] for part in encoded)
    if not examples:
        raise BadInput(f"{Path(data).name}: no response fits into max_length ({max_length} tokens).")
    frozen: Any = teaching if settings.objective == "logits" else None
    del teaching
    optimizer = training.optimizer("model", network, learning_rate=settings.learning_rate)
    training.restore()
    if settings.response_source == "teacher" and processes.is_main():
        kept.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            {"part": number, "prompt": list(messages), "response": response}
            for number, part in enumerate(responses)
            for messages, response in part
        ]
        atomic_write.write_lines(kept, (json.dumps(line, ensure_ascii=False) for line in lines))

    # 4. Train: a step is one minibatch of responses, computed a few thousand tokens at a time.
    plan = minibatches(len(examples), size=settings.batch_size, epochs=settings.epochs, seed=settings.seed)
    first_step = step = training.restored_step
    for step, numbers in training.steps(plan):
        with training.step(step, total=len(plan)):
            losses = accumulate(
                network,
                frozen,
                [examples[number] for number in numbers],
                settings=settings,
                device=device,
                stop=stop,
                backward=optimizer.backward,
            )
            rate = schedule.rate(
                step - 1, steps=len(plan), peak=settings.learning_rate, warmup=settings.warmup_ratio, decay=True
            )
            norm = training.update("model", learning_rate=rate)
        measured = {}
        if held_out:
            measured = training.measure(
                step,
                partial(evaluate, network, frozen, held_out, settings=settings, device=device),
                by="eval_loss",
            )
        training.run.log(step, **losses, learning_rate=rate, gradient_norm=norm, **measured)
        training.between_steps(step, total=len(plan))

    # 5. Take the best weights and save them.
    best = training.load_best()
    network = adapters.merge_adapters(network)
    trained = sum(examples[number].content for numbers in plan[first_step:step] for number in numbers)
    result: dict[str, Any] = {
        "prompts": len(examples),
        "held_out_prompts": len(held_out),
        "too_long_responses": sum(example is None for part in encoded for example in part),
        **best,
        "trained_parameters": adapters.trainable_parameters(network),
        "precision": training.precision,
        "seconds": training.seconds,
        "tokens_per_s": trained / training.seconds if training.seconds else None,
    }
    training.gather(network)
    loading.save_policy(training.run.model, network, tokenizer)
    return training.finish(result)


def check_vocabulary(teacher: str, *, model: str, tokenizer: Any) -> None:
    """Raise BadInput where the distributions of teacher and student are over different tokens."""
    if loading.load_tokenizer(teacher).get_vocab() != tokenizer.get_vocab():
        raise BadInput(
            f"The teacher {teacher} has another vocabulary than the student {model}, so their distributions cannot be "
            "compared token by token. Take objective=responses."
        )


def sample_teacher(
    network: Any, name: str, parts: Sequence[Sequence[Messages]], *, settings: DistilConfig, stop: StopSignal
) -> list[list[ResponseRow]]:
    """One response of the teacher to each chat, in its own tokens; responses without any text are left out."""
    tokenizer = loading.load_tokenizer(name)
    chat.give_template(tokenizer, name=name, chat_template=settings.chat_template)
    sampling = SampleConfig(
        seed=settings.seed,
        max_length=settings.max_length,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.sample_temperature,
        long_prompts=settings.long_prompts,
        batch_size=SAMPLED_AT_ONCE,
    )
    chats = [messages for part in parts for messages in part]
    sampled, _ = sample.respond(
        network, tokenizer, chats, samples=1, settings=sampling, stop=stop, progress=Ticker("responses")
    )
    texts = iter([sample.text_of(tokenizer, item) for (item,) in sampled])
    return [[(messages, text) for messages in part if (text := next(texts)).strip()] for part in parts]


def accumulate(
    network: Any,
    frozen: Any,
    minibatch: Sequence[Example],
    *,
    settings: DistilConfig,
    device: torch.device,
    stop: StopSignal,
    backward: ddp.Backward = ddp.backward,
) -> dict[str, float]:
    """Add the gradient of one minibatch; returns its mean losses per token in nats.

    Divided by the minibatch's tokens before each backward pass: its cut into micro-batches changes nothing.
    """
    tokens = sum(example.loss_tokens for example in minibatch)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    weights = to_device([1.0, settings.sft_coef if frozen is not None else 1.0], device)
    lengths = [example.tokens for example in minibatch]
    for share in distributed.micro_batches_for_rank(lengths, budget=settings.max_tokens_per_forward):
        stop.check()
        members = [minibatch[position] for position in share.rows]
        parts = _losses(network, frozen, members, settings=settings, device=device)
        backward((parts * weights).sum() * share.weight / tokens, is_last=share.is_last)
        sums += (parts.detach() * share.weight).double()
    kl, negative_log_likelihood = (distributed.all_reduce_sum(sums) / tokens).tolist()
    if frozen is None:
        return {"loss": negative_log_likelihood}
    return {"loss": kl + settings.sft_coef * negative_log_likelihood, "teacher_kl": kl}


def _losses(
    network: Any, frozen: Any, members: Sequence[Example], *, settings: DistilConfig, device: torch.device
) -> torch.Tensor:
    """[2]: sums over the responses' tokens of the divergence, 0 without a frozen teacher, and of -log p."""
    at = loss_positions(members, whole_rows=False, device=device)
    states, ids = predicting_states(network, members, at, device=device)
    zero = states.new_zeros((), dtype=torch.float32)
    likelihood = zero
    if frozen is None or settings.sft_coef:
        likelihood = -forward.token_log_probs(network, states, ids).sum()
    if frozen is None:
        return torch.stack([zero, likelihood])
    with torch.no_grad():
        taught, _ = predicting_states(frozen, members, at, device=device)
    kl = forward.token_divergences(network, states, frozen, taught, temperature=settings.distil_temperature)
    return torch.stack([kl.sum(), likelihood])


@torch.no_grad()
def evaluate(
    network: Any, frozen: Any, held_out: Sequence[Example], *, settings: DistilConfig, device: torch.device
) -> dict[str, float]:
    """The loss on held-out responses."""
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for batch in micro_batches([example.tokens for example in held_out], budget=settings.max_tokens_per_forward):
        members = [held_out[row] for row in batch]
        sums += _losses(network, frozen, members, settings=settings, device=device).double()
    kl, likelihood = (sums / sum(example.loss_tokens for example in held_out)).tolist()
    if frozen is None:
        return {"eval_loss": likelihood}
    return {"eval_loss": kl + settings.sft_coef * likelihood, "eval_teacher_kl": kl}


def _read(path: Path) -> list[list[ResponseRow]]:
    parts: list[list[ResponseRow]] = [[], []]
    for line in json_lines.whole(path):
        parts[line["part"]].append((tuple(line["prompt"]), line["response"]))
    return parts
