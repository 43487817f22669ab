"""Demonstrations as tokens, with the positions that the loss is over."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Messages
from models_core.contract.settings import EvaluateConfig, SFTConfig
from models_core.demonstrations.templated_rows import Wording
from models_core.modeling import chat
from models_core.modeling.forward import SHORTEST_PROMPT
from models_core.modeling.packing import Group


class Example(NamedTuple):
    """A row as token ids. The loss is over the response and, with loss_on=all, the prompt's `assistant_positions`."""

    prompt: list[int]
    response: list[int]
    assistant_positions: list[int]
    content: int  # tokens of what people wrote, without template and EOS: the measure of speed

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.response)

    @property
    def loss_tokens(self) -> int:
        """How many tokens its loss is over."""
        return len(self.assistant_positions) + len(self.response)

    @property
    def group(self) -> Group:
        return Group(self.prompt, [self.response])


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Turns worded rows into tokens for one tokenizer and one run's settings."""

    tokenizer: Any
    settings: SFTConfig | EvaluateConfig
    max_length: int

    def encode(self, wording: Wording, *, row_id: str) -> tuple[Example | None, list[str]]:
        """The row as tokens, and what happened to it, in the names of `Account`; None where its response does not fit.

        A response is never cut. A prompt that is too long first gives up its worked examples, the last first, then its
        oldest turns. Raises BadInput where long prompts are refused.
        """
        response = chat.encode_response(self.tokenizer, wording.response)
        room = self.max_length - len(response)
        if room < SHORTEST_PROMPT:
            return None, ["too_long_responses"]
        shots = len(wording.examples)
        prompt = self._fit(wording, shots=shots, room=room)
        while prompt.is_cut and shots:
            shots -= 1
            prompt = self._fit(wording, shots=shots, room=room)
        if prompt.is_cut and self.settings.long_prompts == "refuse":
            raise BadInput(
                f"The row {row_id!r} has a prompt longer than max_length ({self.max_length} tokens) allows; "
                f"long_prompts=cut would leave out its oldest turns."
            )
        events = ["fewer_examples"] * (shots < len(wording.examples)) + ["truncated_prompts"] * prompt.is_cut
        texts = [message["content"] for message in wording.messages(shots=shots)] + [wording.response]
        content = sum(map(len, self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]))
        return Example(prompt.ids, response, prompt.assistant_positions, content), events

    def _fit(self, wording: Wording, *, shots: int, room: int) -> chat.EncodedPrompt:
        return chat.fit_prompt(
            self.tokenizer,
            wording.messages(shots=shots),
            max_tokens=room,
            with_assistant_positions=self.settings.loss_on == "all",
        )


def encode_response_row(
    tokenizer: Any, messages: Messages, response: str, *, max_length: int, long_prompts: str
) -> Example | None:
    """A chat and its response as tokens, the loss over the response; None where the response does not fit.

    Raises BadInput where long prompts are refused.
    """
    ids = chat.encode_response(tokenizer, response)
    room = max_length - len(ids)
    if room < SHORTEST_PROMPT:
        return None
    prompt = chat.fit_prompt(tokenizer, messages, max_tokens=room)
    if prompt.is_cut and long_prompts == "refuse":
        raise BadInput(
            f"A prompt is longer than max_length ({max_length} tokens) allows: long_prompts=cut would cut it."
        )
    texts = [*(message["content"] for message in messages), response]
    content = sum(map(len, tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]))
    return Example(prompt.ids, ids, [], content)
