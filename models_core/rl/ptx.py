"""Text that PPO mixes in, so that the policy does not unlearn ordinary language: the "ptx" of PPO-ptx.

It is pretraining text, or the demonstrations that the SFT model learned from: then the loss is on responses alone.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from models_core.contract import records
from models_core.contract.errors import BadInput
from models_core.contract.settings import PPOConfig
from models_core.modeling import chat, plain_text
from models_core.modeling.packing import Group
from models_core.training.batching import epoch_order

WINDOW = 128
"""Tokens of one sample of text."""


class MixedText:
    """Samples of text as token ids, each a start and what follows it. Sample n depends on the seed and n alone."""

    def __init__(self, samples: list[Group], *, seed: int, ratio: float) -> None:
        """`ratio`: samples beside each episode."""
        self.samples = samples
        self.seed = seed
        self.ratio = ratio
        self._order = lru_cache(maxsize=2)(lambda epoch: epoch_order(len(samples), epoch=epoch, seed=seed))

    @classmethod
    def read(cls, path: str | Path, tokenizer: Any, *, settings: PPOConfig, max_length: int) -> "MixedText":
        """Windows of a .txt file or of the "text" of .jsonl rows; of rows with a response, that response in its chat.

        Raises BadInput.
        """
        path = Path(path)
        if path.suffix == ".jsonl":
            _, first = next(records.rows(path), (0, {}))
            is_chat = "response" in first and "text" not in first
            texts = [] if is_chat else records.read(path, "documents")
        else:
            is_chat = False
            try:
                texts = [path.read_text(encoding="utf-8-sig")]
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput(f"{path}: cannot be read as UTF-8 text ({error}).") from None
        found = _of_chats(path, tokenizer, max_length=max_length) if is_chat else _of_texts(texts, tokenizer)
        samples = list(found)
        if not samples:
            raise BadInput(f"{path.name}: there is no text to learn from.")
        return cls(samples, seed=settings.seed, ratio=settings.ptx_ratio)

    def beside(self, start: int, count: int) -> list[Group]:
        """What goes with episodes number `start` to `start + count` of the run."""
        return self.take(int(start * self.ratio), int((start + count) * self.ratio))

    def take(self, start: int, end: int) -> list[Group]:
        """Samples number `start` to `end` of an endless shuffle."""
        places = (divmod(number, len(self.samples)) for number in range(start, end))
        return [self.samples[self._order(epoch)[place]] for epoch, place in places]


def _of_texts(texts: list[str], tokenizer: Any) -> Iterator[Group]:
    """Windows that predict all but their first token."""
    for ids in plain_text.encode_documents(tokenizer, texts):
        for start in range(0, len(ids) - 1, WINDOW):
            window = ids[start : start + WINDOW]
            if len(window) > 1:
                yield Group(window[:1], [window[1:]])


def _of_chats(path: Path, tokenizer: Any, *, max_length: int) -> Iterator[Group]:
    """Demonstrations that fit, their prompts cut from the left."""
    for row in records.read(path, "demonstrations"):
        response = chat.encode_response(tokenizer, row.response)
        if len(response) < max_length:
            yield Group(chat.encode_prompt(tokenizer, row.messages, max_tokens=max_length - len(response)), [response])
