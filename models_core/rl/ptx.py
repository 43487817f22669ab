"""The text of PPO-ptx, whose language-model loss keeps the policy from forgetting ordinary language.

Pretraining text, or demonstrations of the SFT stage, whose loss is on the responses alone.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from models_core.contract.errors import BadInput
from models_core.contract.rows import row_parser
from models_core.contract.settings import PPOConfig
from models_core.modeling import chat, plain_text
from models_core.modeling.packing import Group
from models_core.training.batching import epoch_order

WINDOW = 128
"""Tokens of one sample of text."""


class PtxText:
    """Samples of text as token ids, each a prefix and its continuation. Sample n depends on the seed and n alone."""

    def __init__(self, samples: list[Group], *, seed: int, ratio: float) -> None:
        """`ratio`: samples per episode."""
        self.samples = samples
        self.seed = seed
        self.ratio = ratio
        self._order = lru_cache(maxsize=2)(lambda epoch: epoch_order(len(samples), epoch=epoch, seed=seed))

    @classmethod
    def read(cls, path: str | Path, tokenizer: Any, *, settings: PPOConfig, max_length: int) -> "PtxText":
        """Windows of a .txt file or of the "text" of .jsonl rows; for rows with a response, the response in its chat.

        Raises BadInput.
        """
        path = Path(path)
        if path.suffix == ".jsonl":
            _, first = next(row_parser.rows(path), (0, {}))
            is_chat = "response" in first and "text" not in first
            texts = [] if is_chat else row_parser.read(path, "documents")
        else:
            is_chat = False
            try:
                texts = [path.read_text(encoding="utf-8-sig")]
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput(f"{path}: cannot be read as UTF-8 text ({error}).") from None
        samples = list(
            _demonstrations(path, tokenizer, max_length=max_length) if is_chat else _windows(texts, tokenizer)
        )
        if not samples:
            raise BadInput(f"{path.name}: there is no text to train on.")
        return cls(samples, seed=settings.seed, ratio=settings.ptx_ratio)

    def for_episodes(self, start: int, count: int) -> list[Group]:
        """Samples that go with episodes `start` to `start + count` of the run."""
        return self.between(int(start * self.ratio), int((start + count) * self.ratio))

    def between(self, start: int, end: int) -> list[Group]:
        """Samples `start` to `end` of an endless shuffle."""
        positions = (divmod(number, len(self.samples)) for number in range(start, end))
        return [self.samples[self._order(epoch)[position]] for epoch, position in positions]


def _windows(texts: list[str], tokenizer: Any) -> Iterator[Group]:
    """Windows of WINDOW tokens; the first token of each is not predicted."""
    for ids in plain_text.encode_documents(tokenizer, texts):
        for start in range(0, len(ids) - 1, WINDOW):
            window = ids[start : start + WINDOW]
            if len(window) > 1:
                yield Group(window[:1], [window[1:]])


def _demonstrations(path: Path, tokenizer: Any, *, max_length: int) -> Iterator[Group]:
    """Demonstrations whose responses fit, their prompts cut from the left."""
    for row in row_parser.read(path, "demonstrations"):
        response = chat.encode_response(tokenizer, row.response)
        if len(response) < max_length:
            yield Group(chat.encode_prompt(tokenizer, row.messages, max_tokens=max_length - len(response)), [response])
