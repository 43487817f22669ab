"""The chat template that a reward model is saved with: plain transformers then reads a response where it is scored.

A reward model's logit is that of the token that ends a response. Templates write on behind it (ChatML a line break),
and begin an assistant's turn in other ways than their generation prompt does, so that `apply_chat_template` of a chat
with its response would be read at another token. What is saved writes such a chat as the prompt with the generation
prompt, the response, and the token that ends it; every other chat as the template itself does.
"""

import json
from typing import Any

from models_core.modeling import chat

HEAD = "{#- A chat that ends with a response is written up to the end of its turn, where it is scored. -#}"
OPEN = HEAD + "{% macro hone_written(messages, add_generation_prompt) %}{{ '' }}"
CLOSE = (
    "{{ '' }}{% endmacro %}{%- if messages and messages[-1]['role'] == 'assistant' and not add_generation_prompt -%}"
)
WHOLE = "{%- else -%}{{- hone_written(messages, add_generation_prompt) -}}{%- endif -%}"


def wrapped(tokenizer: Any) -> Any:
    """A tokenizer's template as a reward model is saved with it; what is no template of one text is left as it is."""
    template = tokenizer.chat_template
    if not isinstance(template, str) or template.startswith(HEAD):
        return template
    end = json.dumps(tokenizer.convert_ids_to_tokens(chat.end_id(tokenizer)))
    response = f"{{{{- hone_written(messages[:-1], true) + messages[-1]['content'] + {end} -}}}}"
    return OPEN + template + CLOSE + response + WHOLE


def unwrapped(template: Any) -> Any:
    """The template that was wrapped, or any other as it is."""
    if not isinstance(template, str) or not template.startswith(OPEN):
        return template
    return template.removeprefix(OPEN).rpartition(CLOSE)[0]
