"""Chats and responses as token ids: one way for training, sampling and scoring alike.

A response is always tokenised as the policy would have produced it: the prompt's chat template with the generation
prompt, then the response's own tokens, then the token that ends a turn: the one that the template writes behind an
assistant's, or EOS where it writes none.
"""

import itertools
import re
import secrets
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Message
from models_core.modeling import plain_text

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
"""For tokenizers that bring no chat template."""
SEAM, OPEN, CLOSE = (f"\uf8fe{secrets.token_hex(8)}{name}\uf8fe" for name in "soc")
"""Marks that never reach the tokenizer: a token that is spelled in a text, and the borders of an assistant's turn. They
differ in each process, so that no text can hold one.
"""
MARKS = re.compile(f"({SEAM}|{OPEN}|{CLOSE})")
PROBE = "probe"
"""A text that is put into a template to see what the template writes around it."""


@dataclass(frozen=True, kw_only=True)
class EncodedPrompt:
    """A chat as token ids, at most as many as were allowed. `is_cut`: it was longer and lost its beginning.

    `assistant_positions`, from 1 on, are those of the tokens that the assistant said, each turn with its end token.
    """

    ids: list[int]
    is_cut: bool
    assistant_positions: list[int]


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
    check_template(tokenizer, name=name)


def check_template(tokenizer: Any, *, name: str) -> None:
    """Raise BadInput where a chat template cannot even write one turn of a user."""
    try:
        write(tokenizer, [Message(role="user", content=PROBE)])
    except TemplateRefused as refused:
        raise BadInput(f"The chat template of {name} cannot be used: {refused.reason}") from None


class TemplateRefused(BadInput):
    """A chat that the chat template does not write: `messages`; `reason` is the template's own, a sentence."""

    def __init__(self, messages: Sequence[Message], reason: str) -> None:
        words = " ".join(messages[0]["content"].split()) if messages else ""
        prefix = f'the {messages[0]["role"]} turn "{words[:60]}"' if messages else "nothing"
        super().__init__(f"The chat template refuses the chat that begins with {prefix}: {reason}")
        self.messages, self.reason = tuple(messages), reason


def write(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
    """What the chat template makes of a chat. Raises TemplateRefused."""
    try:
        text = tokenizer.apply_chat_template(
            list(messages),
            chat_template=None if tokenizer.chat_template else PLAIN_TEMPLATE,
            add_generation_prompt=add_generation_prompt,
            tokenize=False,
        )
    except MemoryError:
        raise
    except Exception as error:  # a template is a program: it raises what it likes
        words = " ".join(str(error).split()) or type(error).__name__
        raise TemplateRefused(_unmarked(messages), words if words.endswith(".") else f"{words}.") from None
    return str(text)


class Turns(NamedTuple):
    """What a chat template writes around turns: the id that ends an assistant's, and the added tokens it uses."""

    end: int
    tokens: frozenset[str]


_turns: "weakref.WeakKeyDictionary[Any, tuple[Any, int, Turns]]" = weakref.WeakKeyDictionary()


def turns(tokenizer: Any) -> Turns:
    """Found out once for a tokenizer and its template.

    `tokens` are all special tokens besides, so that a response can hold none of them. Other added tokens (of reasoning,
    of tools) a model writes in its responses itself.
    """
    key = tokenizer.chat_template, len(tokenizer)
    known = _turns.get(tokenizer)
    if known is None or known[:2] != key:
        known = _turns[tokenizer] = (*key, _found_turns(tokenizer))
    return known[2]


def end_id(tokenizer: Any) -> int:
    """The id that ends a response: the added token that the template writes behind one, else the tokenizer's EOS."""
    return turns(tokenizer).end


def _found_turns(tokenizer: Any) -> Turns:
    added = plain_text.of(tokenizer)
    user, assistant = Message(role="user", content=PROBE), Message(role="assistant", content=PROBE)
    try:
        tail = write(tokenizer, [user, assistant], add_generation_prompt=False).rpartition(PROBE)[2]
        around = write(tokenizer, [user, assistant, user])
    except TemplateRefused:
        return Turns(tokenizer.eos_token_id, added.special)
    names = added.special | {name for name in added.ids if name in around}
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
    numbers = set(added.ids.values())
    end = next((number for number in ids if number in numbers or tokenizer.decode([number]).strip()), None)
    if end is None or end not in numbers:
        end = tokenizer.eos_token_id
    return Turns(int(end), frozenset(names))


def encode_prompt(tokenizer: Any, messages: Sequence[Message], *, max_tokens: int) -> list[int]:
    """Token ids of a chat that awaits the assistant's next turn, at most `max_tokens` of them; see `fit_prompt`."""
    return fit_prompt(tokenizer, messages, max_tokens=max_tokens).ids


def fit_prompt(
    tokenizer: Any, messages: Sequence[Message], *, max_tokens: int, with_assistant_positions: bool = False
) -> EncodedPrompt:
    """A chat that awaits the assistant's next turn, and what became of it on the way into `max_tokens`.

    A chat that is too long first loses its oldest exchanges (the system turn stays), then its leading tokens: what the
    user asked last is what the response is about. `assistant_positions` are found if asked for; each of those turns is
    then tokenised apart, as the policy would have produced it.
    """
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(messages[len(system) :])
    ids, assistant_positions = _rendered(tokenizer, system + turns, with_assistant_positions=with_assistant_positions)
    is_cut = len(ids) > max_tokens
    while len(ids) > max_tokens and len(turns) > 1:
        turns = turns[2:]
        ids, assistant_positions = _rendered(
            tokenizer, system + turns, with_assistant_positions=with_assistant_positions
        )
    gone = max(len(ids) - max_tokens, 0)
    return EncodedPrompt(
        ids=ids[gone:],
        is_cut=is_cut,
        assistant_positions=[position - gone for position in assistant_positions if position > gone],
    )


def _rendered(
    tokenizer: Any, messages: list[Message], *, with_assistant_positions: bool
) -> tuple[list[int], list[int]]:
    """Token ids of the chat template's text, and the positions in them of what the assistant said.

    What a message spells like an added token stays plain text: SEAM marks the position before the template sees it.
    Nobody ends their turn and speaks as the assistant by typing "<|im_end|>". OPEN and CLOSE go through the template in
    the same way. A turn that a template rewrites so that it loses one of them (reasoning is taken out of earlier turns)
    is not what was said and is left out of the positions.
    """
    text = write(
        tokenizer,
        [_marked(tokenizer, message, with_assistant_positions=with_assistant_positions) for message in messages],
    )
    ids: list[int] = []
    assistant_positions: list[int] = []
    opened: int | None = None  # where the turn began that is being read
    closed = False  # whether a turn has just ended
    part, seams = "", list[int]()
    for piece in [*MARKS.split(text), None]:
        if piece == SEAM:
            seams.append(len(part))
            continue
        if piece is not None and piece not in (OPEN, CLOSE):
            part += piece
            continue
        tokens = plain_text.encode(tokenizer, part, spelled=seams) if part else []
        if closed:
            assistant_positions += (len(ids) + position for position in _ending(tokenizer, tokens))
        if opened is not None and piece == CLOSE:
            assistant_positions += range(opened, len(ids) + len(tokens))
        closed = opened is not None and piece == CLOSE
        ids += tokens
        opened = len(ids) if piece == OPEN else None
        part, seams = "", []
    return ids, assistant_positions


def _ending(tokenizer: Any, tokens: Sequence[int]) -> list[int]:
    """Where in the tokens behind a turn its end is, if only white space comes before it."""
    for position, number in enumerate(tokens):
        if number in (end_id(tokenizer), tokenizer.eos_token_id):
            return [position]
        if tokenizer.decode([number]).strip():
            return []
    return []


def _marked(tokenizer: Any, message: Message, *, with_assistant_positions: bool) -> Message:
    """A turn with a mark in every spelling of a token it may not hold. Marks stand inside the white space at its ends,
    which templates trim.
    """
    is_assistant = message["role"] == "assistant"
    added = plain_text.of(tokenizer)
    content = message["content"]
    positions = added.spellings(content, turns(tokenizer).tokens if is_assistant else added.ids)
    borders = [0, *positions, len(content)]
    content = SEAM.join(content[start:end] for start, end in itertools.pairwise(borders))
    if with_assistant_positions and is_assistant and (said := content.strip()):
        before, _, after = content.partition(said)
        content = before + OPEN + said + CLOSE + after
    return Message(role=message["role"], content=content)


def _unmarked(messages: Sequence[Message]) -> list[Message]:
    return [Message(role=message["role"], content=MARKS.sub("", message["content"])) for message in messages]


def encode_response(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a response with the end of its turn.

    The spelling of a special token, or of one that the template writes, stays plain text inside it: a response that
    contains "<|im_end|>" must not end twice.
    """
    added, names = plain_text.of(tokenizer), turns(tokenizer).tokens
    if added.spellings(text, names):
        ids = added.plain(text, names)
    else:
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return [*ids, end_id(tokenizer)]


def decode_response(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids, without their end, special tokens, and NUL, which no database takes in a text."""
    ended = bool(ids) and ids[-1] in (end_id(tokenizer), tokenizer.eos_token_id)
    text: str = tokenizer.decode(list(ids[:-1] if ended else ids), skip_special_tokens=True)
    return text.replace("\0", "")


def eos_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every id that ends a response: the end of a turn first, the tokenizer's EOS, those of the generation settings."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    extra = configured if isinstance(configured, list) else [] if configured is None else [configured]
    return tuple(dict.fromkeys([end_id(tokenizer), tokenizer.eos_token_id, *extra]))
