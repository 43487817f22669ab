"""The tokenizer of a folder, read with every way in which it can be broken said in a sentence."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from models_core.contract.errors import BadInput

NOT_SAVED = ("is_local", "local_files_only")
"""What transformers notes of how a tokenizer was read, and would write beside it."""


def read(folder: str | Path, *, name: str | Path) -> Any:
    """A folder's tokenizer; sentences call it by `name`. Raises BadInput, also where its ids don't fit the model."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except MemoryError:
        raise
    except Exception as error:  # a damaged or newer file raises whatever its reader raises, down to plain Exception
        raise BadInput(f"The tokenizer of {name} cannot be loaded: {first_line(error)}") from None
    if not hasattr(tokenizer, "added_tokens_decoder"):
        raise BadInput(f"The tokenizer of {name} is a {type(tokenizer).__name__}, which reads no plain text.")
    for key in NOT_SAVED:
        tokenizer.init_kwargs.pop(key, None)
    if tokenizer.eos_token_id is None:
        raise BadInput(f"The tokenizer of {name} has no end-of-sequence token.")
    _check_fit(tokenizer, folder, name=name)
    return tokenizer


def _check_fit(tokenizer: Any, folder: str | Path, *, name: str | Path) -> None:
    """Raise BadInput where the tokenizer has ids for which the folder's model has no embedding."""
    rows = _embeddings(Path(folder) / "config.json")
    largest = max(tokenizer.get_vocab().values(), default=0)
    if rows is not None and largest >= rows:
        raise BadInput(
            f"The tokenizer of {name} does not fit its model: it has tokens up to number {largest}, and the model has "
            f"embeddings for {rows}."
        )


def _embeddings(path: Path) -> int | None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = [part.get("vocab_size") for part in (config, config.get("text_config")) if isinstance(part, dict)]
    return next((rows for rows in found if isinstance(rows, int)), None)


def first_line(error: BaseException) -> str:
    """One line of an error's message, as the end of a sentence."""
    lines = [" ".join(line.split()) for line in str(error).split("\n") if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if isinstance(error, KeyError):
        text = f"{text} is unknown or missing"
    elif text.endswith(":") and len(lines) > 1:
        text = f"{text} {lines[1]}"
    return text if text.endswith((".", "!", "?")) else f"{text}."
