"""Pretrain a language model on plain text: next-token loss on every token of every document.

A fresh byte-level tokenizer and a fresh decoder, or a base model continued. Documents are laid end to end without
padding and none sees another; one longer than a row is cut into windows that overlap, and each token is predicted once
an epoch (models_core.training.corpus says what a document is). Muon for the layers' matrices and AdamW for the rest,
cosine schedule with warm-up, dropout because little text is read many times. Documents held out by their hash teach
neither the tokenizer nor the model: on them the run measures perplexity per token, and bits per byte, which compare
across tokenizers. Left out: filtering, mixtures of several corpora.

    python -m models_core pretrain --data corpus.txt --out RUN
"""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.rows import json_lines
from models_core.contract.runs import processes
from models_core.contract.runs.run_folder import RunFolder
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import PretrainConfig
from models_core.generation import generate
from models_core.modeling import adapters, architecture, chat, loading, tokenization
from models_core.modeling.forward import response_log_probs
from models_core.modeling.packing import Group, pack
from models_core.training import corpus, ddp, distributed, schedule
from models_core.training.batching import micro_batches, minibatches
from models_core.training.loop import Training

NEW_MODEL_RATE, CONTINUED_RATE = 6e-3, 1e-4
SAMPLED_DOCUMENTS = 3
SAMPLE_PROMPT = 12
"""Tokens of a document's beginning that a sample goes on from."""


def train(
    settings: PretrainConfig,
    *,
    data: str | Path,
    out: str | Path,
    model: str | None = None,
    tokenizer: str | None = None,
    evaluation: str | Path | None = None,
    device: torch.device,
    stop: StopSignal,
    resume: bool = False,
) -> dict[str, Any]:
    """Train on a corpus, leave the model in OUT/model, and return what result.json says of it.

    `model` is a base model to continue; without one a fresh one is made, with the tokenizer of the folder `tokenizer`
    or a fresh one. `evaluation` holds the text to measure on; without it documents are held out. Raises BadInput,
    Stopped, Diverged.
    """
    # 1. Read the documents; keep some away from everything that learns.
    if model is not None and tokenizer is not None:
        raise BadInput("A base model brings its own tokenizer: give --model or --tokenizer, not both.")
    if model is None and settings.method != "full":
        raise BadInput(f"A fresh model has nothing to keep: method={settings.method} needs a base model (--model).")
    documents, held_out = read(settings, data=data, evaluation=evaluation)
    training = Training(
        out=out,
        stage="pretrain",
        settings=settings,
        models={name: given for name, given in (("model", model), ("tokenizer", tokenizer)) if given is not None},
        data={"corpus": Path(data)} | ({"evaluation": Path(evaluation)} if evaluation is not None else {}),
        device=device,
        stop=stop,
        resume=resume,
    )

    # 2. Make the tokenizer and the model, or take the base model's; turn the documents into rows.
    encoder = make_tokenizer(documents, settings, model=model, folder=tokenizer, run=training.run)
    network: Any
    if model is None:
        network = architecture.build(settings, encoder, dtype=training.dtype, device=training.loading_device)
    else:
        network = loading.load_policy(
            model, device=training.loading_device, dtype=training.dtype, quantise=settings.method == "qlora"
        )
    max_length = min(settings.max_length, loading.context_length(network))
    start = tokenization.start_id(encoder)
    encoded, encoded_held_out = corpus.encode(documents, encoder), corpus.encode(held_out, encoder)
    rows = corpus.rows(encoded, start=start, max_length=max_length, overlap=settings.overlap)
    held_out_rows = corpus.rows(encoded_held_out, start=start, max_length=max_length, overlap=corpus.HELD_OUT_OVERLAP)

    # 3. Choose the weights that learn.
    network = adapters.prepare(network, settings, tokenizer=encoder)
    architecture.add_dropout(network, settings.dropout)
    peak = settings.learning_rate or (NEW_MODEL_RATE if model is None else CONTINUED_RATE)
    is_new = model is None
    by_muon = settings.optimizer == "muon" or (settings.optimizer == "auto" and is_new and not training.is_sharded)
    optimizer = training.optimizer(
        "model", network, learning_rate=peak, muon=architecture.hidden_matrices(network) if by_muon else ()
    )
    if not math.isfinite(mean_loss(network, rows[:1], settings=settings, device=device)):
        raise BadInput(f"The loss of {model} on the first row is not a finite number: its weights are damaged.")
    step, _ = training.restore()
    keep_tokenizer(encoder, training.run)
    sampler = Sampler(
        network,
        encoder,
        (encoded_held_out or encoded)[:SAMPLED_DOCUMENTS],
        settings=settings,
        max_length=max_length,
        run=training.run,
    )

    # 4. Train: a step is so many tokens, computed a few thousand at a time.
    plan = minibatches(
        len(rows),
        size=settings.batch_size * max_length,
        epochs=settings.epochs,
        seed=settings.seed,
        counts=[len(row.responses[0]) for row in rows],
    )
    loss = None
    for step, batch in training.steps(plan):
        members = [rows[row] for row in batch]
        with training.step(step, total=len(plan)):
            loss = accumulate(
                network,
                members,
                step=step,
                settings=settings,
                device=device,
                stop=stop,
                backward=optimizer.backward,
            )
            rate = schedule.cosine(
                step - 1, steps=len(plan), peak=peak, warmup=settings.warmup_ratio, final=settings.min_lr_ratio
            )
            norm = training.update("model", learning_rate=rate)
        measured: dict[str, float] = {}
        if held_out_rows:
            measured = training.measure(
                step,
                lambda: corpus.bits_per_byte(
                    mean_loss(network, held_out_rows, settings=settings, device=device),
                    tokens=corpus.predicted(held_out_rows),
                    size=corpus.size(held_out),
                ),
                by="eval_loss",
            )
        training.run.log(step, loss=loss, **measured, learning_rate=rate, gradient_norm=norm)
        # Decoding reads whole weights: a model whose layers are split does not show what it writes.
        if (measured or step == len(plan)) and processes.is_main() and not training.is_sharded:
            sampler.write(step)
        training.between_steps(step, total=len(plan))

    # 5. Save the best weights.
    best = training.load_best()
    network = adapters.merge_adapters(network)
    seconds = training.seconds
    trained = sum(corpus.predicted([rows[row] for row in batch]) for batch in plan[:step])
    training.gather(network)
    loading.save_policy(training.run.model, network, encoder)
    return training.finish(
        {
            "documents": len(documents),
            "held_out_documents": len(held_out),
            "tokens": corpus.predicted(rows),
            "steps": step,
            "loss": loss,
            **best,
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "vocab_size": len(encoder),
            "precision": training.precision,
            "seconds": seconds,
            "tokens_per_s": trained / seconds if seconds else None,
        }
    )


def read(settings: PretrainConfig, *, data: str | Path, evaluation: str | Path | None) -> tuple[list[str], list[str]]:
    """Documents to learn from and documents to measure on; none is in both. Raises BadInput."""
    documents = corpus.read(data, rule=settings.documents)
    if evaluation is None:
        documents, held_out = corpus.split(documents, held_out=settings.held_out)
    else:
        held_out = corpus.read(evaluation, rule=settings.documents)
        measured = set(held_out)
        documents = [document for document in documents if document not in measured]
    if not documents:
        reason = "every document is held out; nothing is left to learn from. Give --eval FILE or --set held_out=0"
        raise BadInput(f"{Path(data).name}: {reason}.")
    return documents, held_out


def make_tokenizer(
    documents: Sequence[str], settings: PretrainConfig, *, model: str | None, folder: str | None, run: RunFolder
) -> Any:
    """A resumed run's own tokenizer, else that of a base model or of a folder, else one trained on the documents."""
    if run.resumed and run.tokenizer.is_dir():
        return tokenization.load(run.tokenizer)
    if model is not None:
        return loading.load_tokenizer(model)
    if folder is not None:
        return tokenization.load(folder)
    return tokenization.train(
        documents, kind=settings.tokenizer, vocab_size=settings.vocab_size, max_length=settings.max_length
    )


def keep_tokenizer(tokenizer: Any, run: RunFolder) -> None:
    """Put the tokenizer into the run folder, whole or not at all: a trainer need not make the same one twice."""
    if run.tokenizer.is_dir() or not processes.is_main():
        return
    partial = run.path / ".tokenizer.partial"
    tokenizer.save_pretrained(partial)
    partial.rename(run.tokenizer)


def accumulate(
    network: Any,
    rows: Sequence[Group],
    *,
    step: int,
    settings: PretrainConfig,
    device: torch.device,
    stop: StopSignal,
    backward: ddp.Backward = ddp.backward,
) -> float:
    """Add the gradient of one minibatch; returns its mean loss per predicted token, in nats.

    The seed of a step's dropout is the step's: one that is stopped half-way and done again drops the same. Each process
    drops its own.
    """
    torch.manual_seed(random.Random(f"{settings.seed}/{step}/{processes.rank()}").getrandbits(63))
    network.train()
    tokens = corpus.predicted(rows)
    total = torch.zeros((), dtype=torch.float64, device=device)
    lengths = [row.tokens for row in rows]
    for share in distributed.micro_batches_for_rank(lengths, budget=settings.max_tokens_per_forward):
        stop.check()
        loss = summed_loss(network, [rows[position] for position in share.rows], device=device) / tokens * share.weight
        backward(loss, is_last=share.is_last)
        total += loss.detach()
    return float(distributed.all_reduce_sum(total))


@torch.no_grad()
def mean_loss(network: Any, rows: Sequence[Group], *, settings: PretrainConfig, device: torch.device) -> float:
    """Mean loss per predicted token without dropout, in nats."""
    network.eval()
    batches = micro_batches([row.tokens for row in rows], budget=settings.max_tokens_per_forward)
    total = torch.zeros((), dtype=torch.float64, device=device)
    for batch in batches:
        total += summed_loss(network, [rows[position] for position in batch], device=device)
    return total.item() / corpus.predicted(rows)


def summed_loss(network: Any, rows: Sequence[Group], *, device: torch.device) -> torch.Tensor:
    """-log p of every predicted token, summed."""
    return -response_log_probs(network, pack(rows, device=device)).sum()


class Sampler:
    """Shows what the model writes as it learns: how it goes on from the beginnings of the same few documents."""

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        documents: Sequence[Sequence[int]],
        *,
        settings: PretrainConfig,
        max_length: int,
        run: RunFolder,
    ) -> None:
        """`documents` are those that it goes on from, as token ids with EOS."""
        self.network = network
        self.tokenizer = tokenizer
        self.settings = settings
        self.path = run.samples
        length = max(1, min(SAMPLE_PROMPT, max_length - settings.sample_tokens - 1))
        self.prompts = [[tokenization.start_id(tokenizer), *ids[: min(length, len(ids) - 1)]] for ids in documents]

    def write(self, step: int) -> None:
        """Append a row a prompt to samples.jsonl: the step, the prompt, and what the model wrote after it."""
        room = loading.context_length(self.network) - max(map(len, self.prompts))
        if not self.settings.sample_tokens or room < 1:
            return
        samples = generate.sample(
            self.network,
            self.prompts,
            samples=1,
            max_new_tokens=min(self.settings.sample_tokens, room),
            temperature=self.settings.sample_temperature,
            stop_ids=chat.eos_ids(self.network, self.tokenizer),
            seed=self.settings.seed,
            batch_size=len(self.prompts),
        )
        with self.path.open("a", encoding="utf-8") as file:
            for prompt, (sample,) in zip(self.prompts, samples, strict=True):
                texts = [chat.decode_response(self.tokenizer, ids) for ids in (prompt, sample.ids)]
                row = {"step": step, "prompt": texts[0], "text": texts[1]}
                file.write(json_lines.line(row))
