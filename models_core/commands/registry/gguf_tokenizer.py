"""A byte-level BPE tokenizer as llama.cpp knows it: tokens, their kinds, merges, and how it splits text beforehand.

llama.cpp has each way of splitting under a name, so a tokenizer is recognised by what its tokenizer.json says.
SentencePiece and WordPiece tokenizers are refused by name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf

from models_core.contract.errors import BadInput

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {
    CONTRACTIONS + r"\p{N}{1,3}" + REST: "llama-bpe",
    CONTRACTIONS + r"\p{N}" + REST: "qwen2",
}
"""Regular expressions that text is split by before its bytes are merged, and llama.cpp's names for them."""
IGNORING_MERGES = ("llama-bpe",)
"""Of these llama.cpp takes a word that is a token as it is, whatever its merges say."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Tokens by their number, gaps filled with unused ones."""

    split: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str]

    def add_to(self, writer: Any) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.split)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.kinds)
        writer.add_token_merges(self.merges)


def read(folder: Path, *, size: int, name: str) -> Vocabulary:
    """The vocabulary of a model folder, as many tokens as the model has embeddings. Raises BadInput."""
    try:
        document: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _refused(name, "has no tokenizer.json") from None
    split = _split(document, name=name)
    model = document["model"]
    if bool(model.get("ignore_merges")) != (split in IGNORING_MERGES):
        raise _refused(name, f"splits text as {split} does, with ignore_merges the other way round")
    if not model.get("merges"):
        raise _refused(name, "has no merges, and llama.cpp loads none without")
    tokens: dict[int, tuple[str, gguf.TokenType]] = {
        number: (token, gguf.TokenType.NORMAL) for token, number in model["vocab"].items()
    }
    for added in document.get("added_tokens", ()):
        kind = gguf.TokenType.CONTROL if added.get("special") else gguf.TokenType.USER_DEFINED
        tokens[added["id"]] = (added["content"], kind)
    found = [tokens.get(number, (f"[UNUSED{number}]", gguf.TokenType.UNUSED)) for number in range(size)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges", ())]
    return Vocabulary(
        split=split,
        tokens=[token for token, _kind in found],
        kinds=[int(kind) for _token, kind in found],
        merges=merges,
    )


def _split(document: Mapping[str, Any], *, name: str) -> str:
    """llama.cpp's name for how text is split before its bytes are merged. Raises BadInput."""
    model, before = document["model"], document.get("pre_tokenizer") or {}
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        fallback = " with byte_fallback" if model.get("byte_fallback") else ""
        raise _refused(name, f"is a {model.get('type')} tokenizer{fallback}")
    normalizer = document.get("normalizer") or {}
    if normalizer.get("type", "NFC") != "NFC":
        raise _refused(name, f"normalises text ({normalizer.get('type')})")
    parts = before.get("pretokenizers", [before]) if before.get("type") == "Sequence" else [before]
    *earlier, last = parts
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise _refused(name, f"splits text by {before.get('type', 'nothing')}")
    if not earlier and last.get("use_regex", True):
        return "gpt-2"
    if len(earlier) == 1 and last.get("use_regex", True):
        if earlier[0] == {"type": "Digits", "individual_digits": True}:
            return "smollm"
    elif len(earlier) == 1 and earlier[0].get("type") == "Split" and earlier[0].get("behavior") == "Isolated":
        pattern = (earlier[0].get("pattern") or {}).get("Regex", "")
        if pattern in SPLITS and not earlier[0].get("invert"):
            return SPLITS[pattern]
    raise _refused(name, "splits text in a way that llama.cpp has no name for")


def _refused(name: str, reason: str) -> BadInput:
    return BadInput(f"{name} can't be written as GGUF: its tokenizer {reason}.")
