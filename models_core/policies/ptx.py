"""Text that PPO mixes in, so that the policy does not unlearn ordinary language: the "ptx" of PPO-ptx."""

from pathlib import Path
from typing import Any

from models_core import records
from models_core.batching import epoch_order
from models_core.config import BadInput
from models_core.packing import Group

WINDOW = 128
"""Tokens of one sample of text."""


class PretrainingText:
    """Windows of text as token ids. Window number n of a run depends on the seed and n alone."""

    def __init__(self, windows: list[list[int]], *, seed: int) -> None:
        self.windows = windows
        self.seed = seed

    @classmethod
    def read(cls, path: str | Path, tokenizer: Any, *, seed: int) -> "PretrainingText":
        """Cut a .txt file, or the "text" of the rows of a .jsonl file, into windows. Raises BadInput."""
        path = Path(path)
        if path.suffix == ".jsonl":
            texts = [row["text"] for _, row in records.rows(path) if isinstance(row.get("text"), str)]
        else:
            try:
                texts = [path.read_text(encoding="utf-8-sig")]
            except (OSError, UnicodeDecodeError) as error:
                raise BadInput(f"{path}: cannot be read as UTF-8 text ({error}).") from None
        windows: list[list[int]] = []
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
            windows.extend(ids[start : start + WINDOW] for start in range(0, len(ids), WINDOW))
        windows = [window for window in windows if len(window) > 1]
        if not windows:
            raise BadInput(f"{path.name}: there is no text to learn from.")
        return cls(windows, seed=seed)

    def take(self, start: int, count: int) -> list[Group]:
        """Windows number `start` to `start + count` of an endless shuffle; each predicts all but its first token."""
        groups = []
        for number in range(start, start + count):
            epoch, place = divmod(number, len(self.windows))
            window = self.windows[epoch_order(len(self.windows), epoch=epoch, seed=self.seed)[place]]
            groups.append(Group(window[:1], [window[1:]]))
        return groups
