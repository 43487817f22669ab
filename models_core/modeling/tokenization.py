"""Tokenizers trained on a corpus: byte-level BPE, WordPiece or Unigram, each with everything a chat model needs.

All three see a text as its UTF-8 bytes, split at words and numbers as GPT-2 does. So every text in every language has
tokens and comes back from them unchanged, and none is ever unknown. The special tokens: EOS ends documents and turns
alike (what pretraining teaches about ends is what a chat needs) and stands before a document's first token; padding is
a token of its own; each role has a mark.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models_core.contract.errors import BadInput
from models_core.modeling import tokenizer_files
from models_core.modeling.chat import PLAIN_TEMPLATE
from models_core.training import distributed

EOS, PAD = "<|endoftext|>", "<|pad|>"
ROLES = {role: f"<|{role}|>" for role in ("system", "user", "assistant")}
SPECIAL = [EOS, PAD, *ROLES.values()]
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
CONTINUES = "\u2027"
"""WordPiece's mark of a piece inside a word; not one of the characters that stand for bytes."""
BYTES = 256
LONGEST_WORD = 60
"""Bytes of a word beyond which WordPiece, whose time grows with their square, cuts it."""


def train(documents: Iterable[str], *, kind: str, vocab_size: int, max_length: int) -> Any:
    """A tokenizer of `vocab_size` tokens, or of fewer where the text has no more to merge.

    `max_length` is what the model that goes with it can hold. Raises BadInput where the vocabulary is too small.
    """
    smallest = len(SPECIAL) + BYTES * (2 if kind == "wordpiece" else 1)
    if vocab_size < smallest:
        raise BadInput(f"A {kind} vocabulary needs {smallest} tokens for bytes and marks; vocab_size is {vocab_size}.")
    tokenizer = {"bpe": _bpe, "wordpiece": _wordpiece, "unigram": _unigram}[kind](documents, vocab_size)
    # Trainers sum in an order of their own, and ties fall this way or that: many processes take the first one's.
    tokenizer = Tokenizer.from_str(distributed.broadcast(tokenizer.to_str()))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=EOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(ROLES.values()),
        chat_template=TEMPLATE,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def load(folder: str | Path) -> Any:
    """The tokenizer of a folder, with EOS as padding and a plain chat template where it has none. Raises BadInput."""
    if not (Path(folder) / "tokenizer.json").is_file():
        raise BadInput(f"{folder} is no folder of a tokenizer: it has no tokenizer.json.")
    tokenizer = tokenizer_files.read(folder, name=folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.chat_template = tokenizer.chat_template or PLAIN_TEMPLATE
    return tokenizer


def start_id(tokenizer: Any) -> int:
    """What a document's first token is predicted from: BOS, or EOS where a tokenizer has none."""
    start: int = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return start


def _bpe(documents: Iterable[str], vocab_size: int) -> Tokenizer:
    """Merges of the most frequent pair (Sennrich et al. 2016, 1508.07909), over bytes as in GPT-2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(documents, trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=2, **_common()))
    return tokenizer


def _unigram(documents: Iterable[str], vocab_size: int) -> Tokenizer:
    """The likeliest cut under a unigram model of the pieces (Kudo 2018, 1804.10959)."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(documents, trainers.UnigramTrainer(vocab_size=vocab_size, **_common()))
    return tokenizer


def _wordpiece(documents: Iterable[str], vocab_size: int) -> Tokenizer:
    """The longest piece that fits, from the left (Schuster and Nakajima 2012; Wu et al. 2016, 1609.08144).

    The trainer knows of the bytes inside words only those that it saw. The others take the places of the last pieces
    it made: the rarest ones.
    """
    tokenizer = Tokenizer(models.WordPiece())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.FixedLength(LONGEST_WORD)]
    )
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, continuing_subword_prefix=CONTINUES, **_common()
    )
    tokenizer.train_from_iterator(documents, trainer)
    numbers = tokenizer.get_vocab()
    pieces = sorted(numbers, key=numbers.__getitem__)
    needed = [CONTINUES + byte for byte in sorted(pre_tokenizers.ByteLevel.alphabet())]
    known = set(pieces)
    missing = [piece for piece in needed if piece not in known]
    while len(pieces) + len(missing) > vocab_size:
        dropped = pieces.pop()
        if dropped in needed:
            missing.append(dropped)
    vocabulary = {piece: number for number, piece in enumerate([*pieces, *missing])}
    tokenizer.model = models.WordPiece(
        vocabulary, unk_token=EOS, continuing_subword_prefix=CONTINUES, max_input_chars_per_word=LONGEST_WORD
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace(CONTINUES, ""), decoders.ByteLevel()])
    return tokenizer


def _common() -> dict[str, Any]:
    """What every trainer is told: special tokens take the first ids, and no byte is missing."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return {"special_tokens": SPECIAL, "initial_alphabet": alphabet, "show_progress": False}
