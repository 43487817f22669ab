"""Chats and responses as token ids: one way for training, sampling and scoring alike.

A response is always tokenised as the policy would have produced it: the prompt's chat template with the generation
prompt, then the response's own tokens, then EOS.
"""

from collections.abc import Sequence
from typing import Any

from models_core.records import Message

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
"""For tokenizers that bring no chat template."""
SEAM = "\uf8fe"
"""A private-use character; it never reaches the tokenizer."""


def encode_prompt(tokenizer: Any, messages: Sequence[Message], *, max_tokens: int) -> list[int]:
    """Token ids of a chat that awaits the assistant's next turn, at most `max_tokens` of them.

    A chat that is too long first loses its oldest exchanges (the system turn stays), then its leading tokens: what the
    user asked last is what the answer is about.
    """
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(messages[len(system) :])
    ids = _rendered(tokenizer, system + turns)
    while len(ids) > max_tokens and len(turns) > 1:
        turns = turns[2:]
        ids = _rendered(tokenizer, system + turns)
    return ids[-max_tokens:]


def _rendered(tokenizer: Any, messages: list[Message]) -> list[int]:
    """Token ids of the chat template's text; what a message spells like a special token stays plain text.

    Such a spelling is cut in two by SEAM before the template sees it, and the pieces are tokenised apart: nobody ends
    his turn and speaks as the assistant by typing "<|im_end|>".
    """
    text = tokenizer.apply_chat_template(
        [Message(role=message["role"], content=_defused(tokenizer, message["content"])) for message in messages],
        chat_template=None if tokenizer.chat_template else PLAIN_TEMPLATE,
        add_generation_prompt=True,
        tokenize=False,
    )
    pieces = [tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in text.split(SEAM)]
    return [token for piece in pieces for token in piece]


def _defused(tokenizer: Any, content: str) -> str:
    content = content.replace(SEAM, "")
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
