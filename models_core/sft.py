"""Fine-tune a language model on demonstrations: next-token loss on the response alone.

The first stage of InstructGPT (Ouyang et al. 2022, section 3.5) and, without any step, PPO's reference. A row is the
prompt as the chat template writes it, the response's tokens, EOS; every response token counts the same. Rows lie end to
end without padding, and none sees another. Left out: an auxiliary loss on the prompt, replay of earlier data.

    python -m models_core sft --model smollm2-135m-instruct --data demonstrations.jsonl --out RUN
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models_core import language_models, methods, records, schedule, scoring
from models_core.batching import micro_batches, minibatches
from models_core.config import BadInput, SFTConfig
from models_core.language_models import trunk
from models_core.methods import unwrapped
from models_core.ops import head_log_probs
from models_core.packing import Group, hidden_states, pack
from models_core.records import Demonstration
from models_core.stopping import StopSignal
from models_core.training import Training


def train(
    settings: SFTConfig,
    *,
    model: str,
    data: str | Path,
    out: str | Path,
    evaluation: str | Path | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Train on demonstrations, leave the model in OUT/model, and return what result.json says of it.

    `evaluation` holds the demonstrations to measure the loss on. Raises BadInput, Stopped, Diverged.
    """
    # 1. Read the demonstrations.
    rows: list[Demonstration] = records.read(data, "demonstrations")
    held_out: list[Demonstration] = records.read(evaluation, "demonstrations") if evaluation is not None else []
    training = Training(
        out=out,
        stage="sft",
        settings=settings,
        models={"model": model},
        data={"demonstrations": Path(data)} | ({"evaluation": Path(evaluation)} if evaluation is not None else {}),
        device=device,
        stop=stop,
        resume=resume,
    )

    # 2. Turn them into tokens. A response that does not fit is left out and counted, never cut.
    tokenizer = language_models.load_tokenizer(model)
    network = language_models.load_policy(model, device=device, dtype=training.dtype)
    max_length = min(settings.max_length, language_models.context_length(network))
    examples = encode(rows, tokenizer=tokenizer, max_length=max_length)
    held_out_examples = encode(held_out, tokenizer=tokenizer, max_length=max_length)
    if not examples:
        raise BadInput(f"{Path(data).name}: every response is longer than max_length ({max_length} tokens) allows.")
    contents = content_tokens(rows, tokenizer=tokenizer)

    # 3. Choose the weights that learn.
    network = methods.prepare(network, settings)
    training.optimizer("model", network, learning_rate=settings.learning_rate)
    done, _ = training.restore()

    # 4. Train: a step is one minibatch of demonstrations, computed a few thousand tokens at a time.
    plan = minibatches(len(examples), size=settings.batch_size, epochs=settings.epochs, seed=settings.seed)
    latest: dict[str, float] = {}
    for step, batch in enumerate(plan[done:], start=done + 1):
        with training.step(step, total=len(plan)):
            loss = accumulate(network, [examples[row] for row in batch], settings=settings, device=device, stop=stop)
            rate = schedule.rate(
                step - 1, steps=len(plan), peak=settings.learning_rate, warmup=settings.warmup, decay=True
            )
            norm = training.update("model", learning_rate=rate)
        latest = {"loss": loss}
        if settings.eval_every and step % settings.eval_every == 0 and held_out_examples:
            latest |= {"eval_loss": mean_loss(network, held_out_examples, settings=settings, device=device)}
        training.run.log(step, **latest, learning_rate=rate, gradient_norm=norm)
        training.between_steps(step, total=len(plan))

    # 5. Measure and save.
    seconds = training.seconds
    metrics: dict[str, Any] = {
        "demonstrations": len(examples),
        "too_long_responses": len(rows) - len(examples),
        "loss": latest.get("loss"),
        "trained_parameters": methods.trainable_parameters(network),
        "precision": training.precision,
        "seconds": seconds,
        "tokens_per_s": contents / len(rows) * len(examples) * settings.epochs / seconds if seconds else None,
    }
    if held_out_examples:
        metrics["eval_loss"] = mean_loss(network, held_out_examples, settings=settings, device=device)
    language_models.save_policy(training.run.model, methods.merged(network), tokenizer)
    return training.finish(metrics)


def encode(rows: Sequence[Demonstration], *, tokenizer: Any, max_length: int) -> list[Group]:
    """Demonstrations as tokens, without those whose response is too long."""
    encoded = [scoring.encode_group(tokenizer, row.messages, [row.response], max_length=max_length) for row in rows]
    return [row.group for row in encoded if all(row.fits)]


def content_tokens(rows: Sequence[Demonstration], *, tokenizer: Any) -> int:
    """Tokens of what people wrote, prompts and responses, without template and EOS: the measure of speed."""
    texts = [text for row in rows for text in [*(message["content"] for message in row.messages), row.response]]
    return sum(map(len, tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]))


def accumulate(
    network: Any, examples: Sequence[Group], *, settings: SFTConfig, device: torch.device, stop: StopSignal
) -> float:
    """Add the gradient of one minibatch; returns its mean loss per response token, in nats.

    Divided by the minibatch's tokens before each backward pass: its cut into micro-batches changes nothing.
    """
    tokens = sum(len(example.responses[0]) for example in examples)
    total = 0.0
    for batch in micro_batches([example.tokens for example in examples], budget=settings.micro_batch_tokens):
        stop.check()
        loss = _summed_loss(network, [examples[position] for position in batch], device=device) / tokens
        loss.backward()
        total += loss.item()
    return total


@torch.no_grad()
def mean_loss(network: Any, examples: Sequence[Group], *, settings: SFTConfig, device: torch.device) -> float:
    """Mean loss per response token on rows that are not learned from, in nats."""
    batches = micro_batches([example.tokens for example in examples], budget=settings.micro_batch_tokens)
    losses = (_summed_loss(network, [examples[row] for row in batch], device=device).item() for batch in batches)
    return sum(losses) / sum(len(example.responses[0]) for example in examples)


def _summed_loss(network: Any, examples: Sequence[Group], *, device: torch.device) -> torch.Tensor:
    """-log p of every response token, summed. The vocabulary's layer runs on the tokens that count alone."""
    packed = pack(examples, device=device)
    inner = unwrapped(network)
    states = hidden_states(trunk(inner), packed)[packed.predictors]
    return -head_log_probs(states, inner.get_output_embeddings(), packed.response_ids).sum()
