"""Text of people as tokens: what spells one of the tokenizer's added tokens stays plain text.

Added tokens ("<|im_end|>", "<|start_header_id|>", "<image>") mean something to the model: who speaks, where a turn
ends. A tokenizer finds them wherever they are spelled, and knows nothing of who wrote what. Here every spelling inside
a text of people is marked (`spellings`), and what surrounds it is tokenised by a copy of the tokenizer that has no such
tokens.
Added tokens that are nothing but white space are text, and are left alone.
"""

import itertools
import json
import secrets
import weakref
from collections.abc import Collection, Sequence
from typing import Any

from tokenizers import Tokenizer

UNSPELLABLE = f"\U0010fffd{secrets.token_hex(16)}"
"""What a token is called in the copies: nobody can write it, since nobody knows it."""
MASK = "\ufffd"


class AddedTokens:
    """What a tokenizer has added to its vocabulary. Ask `of` for it, which keeps one for each tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.size = len(tokenizer)
        added = tokenizer.added_tokens_decoder
        specials = {token.content for token in added.values() if token.special} | set(tokenizer.all_special_tokens)
        self.ids = {token.content: number for number, token in added.items() if token.content.strip()}
        self.ids |= {name: tokenizer.convert_tokens_to_ids(name) for name in specials if name.strip()}
        self.special = frozenset(name for name in self.ids if name in specials)
        self.backend: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
        self.is_normalised = (
            self.backend is not None
            and self.backend.normalizer is not None
            and any(token.normalized for token in added.values() if token.content.strip())
        )
        self._copies: dict[tuple[frozenset[str], bool], Tokenizer] = {}

    def spellings(self, text: str, names: Collection[str]) -> list[int]:
        """Positions in a text, each inside a spelling of one of these tokens; every spelling has one.

        It is the second character's, or the only one's where the token has no more.
        """
        by_first: dict[str, set[int]] = {}
        for name in names:
            by_first.setdefault(name[0], set()).add(len(name))
        wanted = frozenset(names)
        found = {
            start + (length > 1)
            for first, lengths in by_first.items()
            for start in _positions(text, first)
            for length in lengths
            if text[start : start + length] in wanted
        }
        if self.is_normalised and self.backend is not None:
            numbers = {self.ids[name] for name in names}
            encoding = self.backend.encode(text, add_special_tokens=False)
            for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                if number in numbers:
                    found.add(start + (end - start > 1))
        return sorted(found)

    def plain(self, text: str, names: Collection[str], *, is_first: bool = True) -> list[int]:
        """Token ids of a text in which none of these tokens is found. `is_first`: nothing stands before it."""
        if self.backend is None:
            ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            return ids
        key = frozenset(names), is_first
        if key not in self._copies:
            self._copies[key] = self._copy(*key)
        return list(self._copies[key].encode(text, add_special_tokens=False).ids)

    def _copy(self, names: frozenset[str], is_first: bool) -> Tokenizer:
        """The tokenizer with these tokens renamed, also where its model has them: a model may find them on its own."""
        assert self.backend is not None
        document = json.loads(self.backend.to_str())
        model = document["model"]
        known = model["vocab"] if isinstance(model["vocab"], dict) else {name for name, _ in model["vocab"]}
        # A token of one character that the model has too is what the model spells that character with.
        kept = {name for name in names if len(name) == 1 and name in known}
        document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] not in kept]
        names -= kept
        for token in document["added_tokens"]:
            if token["content"] in names:
                token |= {"content": _renamed(token["content"], names), "normalized": False}
        document |= {"post_processor": None, "truncation": None, "padding": None}
        if isinstance(model["vocab"], dict):
            model["vocab"] = {_renamed(name, names): number for name, number in model["vocab"].items()}
        else:
            model["vocab"] = [[_renamed(name, names), score] for name, score in model["vocab"]]
        if model.get("merges"):
            model["merges"] = [pair for pair in model["merges"] if _merged(pair) not in names]
        if isinstance(model.get("unk_token"), str):
            model["unk_token"] = _renamed(model["unk_token"], names)
        if not is_first:
            _without_first_space(document.get("pre_tokenizer"))
        return Tokenizer.from_str(json.dumps(document))


_known: "weakref.WeakKeyDictionary[Any, AddedTokens]" = weakref.WeakKeyDictionary()


def of(tokenizer: Any) -> AddedTokens:
    """What a tokenizer has added, looked up once as long as it has no more."""
    known = _known.get(tokenizer)
    if known is None or known.size != len(tokenizer):
        known = _known[tokenizer] = AddedTokens(tokenizer)
    return known


def encode(tokenizer: Any, text: str, *, spelled: Sequence[int]) -> list[int]:
    """Token ids of a text whose tokens count, but for those spelled at these positions; see `AddedTokens.spellings`.

    What stands between two tokens that count, and has a spelling in it, is tokenised without any added token.
    """
    if not spelled:
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids
    added = of(tokenizer)
    if added.backend is None:
        borders = [0, *spelled, len(text)]
        pieces = [text[start:end] for start, end in itertools.pairwise(borders) if end > start]
        return [number for piece in pieces for number in tokenizer(piece, add_special_tokens=False)["input_ids"]]
    characters = list(text)
    for position in spelled:
        characters[position] = MASK
    encoding = tokenizer("".join(characters), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    numbers, offsets = encoding["input_ids"], encoding["offset_mapping"]
    counts = set(added.ids.values())
    cuts = [position for position, number in enumerate(numbers) if number in counts]
    found: list[int] = []
    token = character = 0
    for cut in [*cuts, len(numbers)]:
        end = offsets[cut][0] if cut < len(numbers) else len(text)
        if any(character <= position < end for position in spelled):
            found += added.plain(text[character:end], added.ids, is_first=character == 0)
        else:
            found += numbers[token:cut]
        if cut < len(numbers):
            found.append(numbers[cut])
            token, character = cut + 1, offsets[cut][1]
    return found


def encode_documents(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts that nobody but people wrote: no added token counts in them."""
    added = of(tokenizer)
    marked = [bool(added.spellings(text, added.ids)) for text in texts]
    sound = [text for text, is_marked in zip(texts, marked, strict=True) if not is_marked]
    encoded = iter(tokenizer(sound, add_special_tokens=False, verbose=False)["input_ids"] if sound else ())
    return [
        added.plain(text, added.ids) if is_marked else list(next(encoded))
        for text, is_marked in zip(texts, marked, strict=True)
    ]


def _positions(text: str, character: str) -> list[int]:
    positions, start = [], text.find(character)
    while start >= 0:
        positions.append(start)
        start = text.find(character, start + 1)
    return positions


def _renamed(name: str, names: Collection[str]) -> str:
    return f"{UNSPELLABLE}{name}" if name in names else name


def _merged(pair: Any) -> str:
    return "".join(pair if isinstance(pair, list) else str(pair).split(" ", 1))


def _without_first_space(pre_tokenizer: Any) -> None:
    """SentencePiece's mark of a word goes before a text's first word, but not before what follows an added token."""
    for step in [pre_tokenizer or {}, *(pre_tokenizer or {}).get("pretokenizers", [])]:
        if step.get("prepend_scheme") == "first":
            step["prepend_scheme"] = "never"
