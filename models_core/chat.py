"""Chats and responses as token ids: one way for training, sampling and scoring alike.

A response is always tokenised as the policy would have produced it: the prompt's chat template with the generation
prompt, then the response's own tokens, then EOS.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models_core.config import BadInput
from models_core.records import Message

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
"""For tokenizers that bring no chat template."""
SEAM, OPEN, CLOSE = "\uf8fe", "\uf8fc", "\uf8fd"
"""Private-use characters that never reach the tokenizer: a cut, and the borders of an assistant's turn."""
MARKS = re.compile(f"([{SEAM}{OPEN}{CLOSE}])")


@dataclass(frozen=True, kw_only=True)
class EncodedPrompt:
    """A chat as token ids, at most as many as were allowed. `is_cut`: it was longer and lost its beginning.

    `spoken` are the positions, from 1 on, of what the assistant said in it, each turn with the EOS that ends it.
    """

    ids: list[int]
    is_cut: bool
    spoken: list[int]


def complete(tokenizer: Any, *, name: str, chat_template: str, pad_token: str) -> None:
    """Give a tokenizer what training needs it to be saved with, as the settings of these names say.

    Without a template nobody knows how the model's turns are written, and without padding its rows cannot be batched by
    other programs; neither is guessed. Raises BadInput.
    """
    give_template(tokenizer, name=name, chat_template=chat_template)
    if pad_token == "eos" and tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise BadInput(
            f"The tokenizer of {name} has no padding token; the setting pad_token=eos takes its end-of-sequence token."
        )


def give_template(tokenizer: Any, *, name: str, chat_template: str) -> None:
    """A chat template for a tokenizer that brings none, if the setting of this name says so. Raises BadInput."""
    if chat_template == "plain":
        tokenizer.chat_template = PLAIN_TEMPLATE
    if not tokenizer.chat_template:
        raise BadInput(
            f"The tokenizer of {name} has no chat template; the setting chat_template=plain gives it a simple one."
        )


def encode_prompt(tokenizer: Any, messages: Sequence[Message], *, max_tokens: int) -> list[int]:
    """Token ids of a chat that awaits the assistant's next turn, at most `max_tokens` of them; see `fit_prompt`."""
    return fit_prompt(tokenizer, messages, max_tokens=max_tokens).ids


def fit_prompt(
    tokenizer: Any, messages: Sequence[Message], *, max_tokens: int, with_spoken: bool = False
) -> EncodedPrompt:
    """A chat that awaits the assistant's next turn, and what became of it on the way into `max_tokens`.

    A chat that is too long first loses its oldest exchanges (the system turn stays), then its leading tokens: what the
    user asked last is what the answer is about. `spoken` is looked for if asked; each of its turns is then tokenised
    apart, as the policy would have produced it.
    """
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(messages[len(system) :])
    ids, spoken = _rendered(tokenizer, system + turns, with_spoken=with_spoken)
    is_cut = len(ids) > max_tokens
    while len(ids) > max_tokens and len(turns) > 1:
        turns = turns[2:]
        ids, spoken = _rendered(tokenizer, system + turns, with_spoken=with_spoken)
    gone = max(len(ids) - max_tokens, 0)
    return EncodedPrompt(ids=ids[gone:], is_cut=is_cut, spoken=[place - gone for place in spoken if place > gone])


def _rendered(tokenizer: Any, messages: list[Message], *, with_spoken: bool) -> tuple[list[int], list[int]]:
    """Token ids of the chat template's text, and the positions in them of what the assistant said.

    What a message spells like a special token stays plain text: such a spelling is cut in two by SEAM before the
    template sees it, and the pieces are tokenised apart. Nobody ends his turn and speaks as the assistant by typing
    "<|im_end|>". OPEN and CLOSE go through the template in the same way. A turn that a template rewrites so that it
    loses one of them (reasoning is taken out of earlier turns) is not what was said and is left out of the positions.
    """
    chat = []
    for message in messages:
        content = _defused(tokenizer, message["content"])
        if with_spoken and message["role"] == "assistant" and message["content"].strip():
            content = OPEN + content + CLOSE
        chat.append(Message(role=message["role"], content=content))
    text = tokenizer.apply_chat_template(
        chat,
        chat_template=None if tokenizer.chat_template else PLAIN_TEMPLATE,
        add_generation_prompt=True,
        tokenize=False,
    )
    ids: list[int] = []
    spoken: list[int] = []
    opened: int | None = None  # where the turn began that is being read
    closed = False  # whether a turn has just ended
    for piece in MARKS.split(text):
        if piece == OPEN:
            opened = len(ids)
        elif piece == CLOSE:
            closed = opened is not None
            spoken += range(len(ids) if opened is None else opened, len(ids))
            opened = None
        elif piece and piece != SEAM:
            tokens = tokenizer(piece, add_special_tokens=False)["input_ids"]
            if closed and tokens[:1] == [tokenizer.eos_token_id]:
                spoken.append(len(ids))
            closed = False
            ids += tokens
    return ids, spoken


def _defused(tokenizer: Any, content: str) -> str:
    content = MARKS.sub("", content)
    for token in tokenizer.all_special_tokens:
        content = content.replace(token, token[:1] + SEAM + token[1:])
    return content


def encode_response(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a response with EOS at its end.

    The spelling of a special token inside the text stays plain text: a response that contains "<|im_end|>" must not
    end twice.
    """
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [*ids, tokenizer.eos_token_id]


def decode_response(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids, without EOS, other special tokens, and NUL, which no database takes in a text."""
    return tokenizer.decode(ids, skip_special_tokens=True).replace("\0", "")


def eos_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every id that ends a response: the tokenizer's EOS first, then those of the model's generation settings."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    extra = configured if isinstance(configured, list) else [] if configured is None else [configured]
    return tuple(dict.fromkeys([tokenizer.eos_token_id, *extra]))
