"""A GGUF file held against the model it was written of, by llama.cpp's Python package where that is installed.

Compared are the tokens of texts, which must be equal, and the distributions of the next token after each token of them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Message
from models_core.modeling import chat

TEXTS = (
    "Name three colours of the rainbow.",
    "Explain in one sentence why the sky is blue in the daytime.",
    "What is 17 * 23? Show each step, then write the result as 000391.",
    "Write a haiku about a river in winter.\n\nUse no more than 17 syllables!",
    "Résume ce texte en français : « L'été, les élèves préfèrent lire dehors. »",
    "把下面这句话翻译成英文：今天的天气很好。",
    "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n",
    "   Two  spaces,\ttabs, emoji 🙂🎉 and a word like naïveté.",
)
CONTEXT = 512


def compare(path: Path, network: Any, tokenizer: Any) -> dict[str, float | int]:
    """Mean KL divergence in nats and share of equal likeliest tokens; {} without the package. Raises BadInput."""
    try:
        from llama_cpp import Llama
    except ImportError:
        return {}
    context = min(CONTEXT, network.config.max_position_embeddings)
    try:
        other = Llama(model_path=str(path), n_ctx=context, logits_all=True, verbose=False, n_gpu_layers=0)
    except (ValueError, OSError, RuntimeError) as error:
        raise BadInput(f"llama.cpp does not load the file that was written: {error}") from None
    divergences: list[np.ndarray] = []
    equal = []
    try:
        for text in texts(tokenizer):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            theirs = other.tokenize(text.encode(), add_bos=False, special=True)
            if theirs != ids:
                place = next((n for n, (a, b) in enumerate(zip(ids, theirs, strict=False)) if a != b), len(ids))
                raise BadInput(
                    f"llama.cpp splits a text into other tokens than the tokenizer: at token {place + 1} of {text!r}."
                )
            ids = ids[:context]
            ours = log_distributions(network, ids)
            other.reset()
            other.eval(ids)
            found = torch.log_softmax(torch.tensor(np.array(other.scores[: len(ids)]), dtype=torch.float64), -1)
            divergences.append((ours.exp() * (ours - found)).sum(-1).numpy())
            equal.append((ours.argmax(-1) == found.argmax(-1)).numpy())
    finally:
        other.close()
    kl, same = np.concatenate(divergences), np.concatenate(equal)
    return {"gguf_positions": len(kl), "gguf_kl": float(kl.mean()), "gguf_top1": float(same.mean())}


def texts(tokenizer: Any) -> list[str]:
    """Plain ones, and as chats where the tokenizer has a template."""
    if not tokenizer.chat_template:
        return list(TEXTS)
    chats = [chat.write(tokenizer, [Message(role="user", content=text)]) for text in TEXTS[:3]]
    return [*TEXTS, *chats]


def log_distributions(network: Any, ids: list[int]) -> torch.Tensor:
    """(tokens, vocabulary), fp64: after each token."""
    with torch.inference_mode():
        return torch.log_softmax(network(input_ids=torch.tensor([ids])).logits[0].double(), -1)
