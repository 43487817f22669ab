"""Declaration of settings, the settings of every stage, and fields that several stages share."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PRECISIONS = ("auto", "bf16", "fp32")
MAX_TOKENS = 2**20
"""Upper bound of tokens in a forward pass or a step: more fit no machine, and a typing error is found at once."""
MAX_STEPS = 100_000_000


def setting(
    default: Any,
    help_text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    parser: Callable[[str], object] | None = None,
    on_pages: bool = True,
) -> Any:
    """A dataclass field with its help text and the closed range or the choices that it accepts.

    parser: reads a text of several parts; its ValueError refuses the text and ends the sentence "The setting NAME ...".
    on_pages: False for settings of the command line alone, which web forms leave out.
    """
    metadata = {
        "help": help_text, "minimum": minimum, "maximum": maximum, "choices": choices, "parser": parser,
        "on_pages": on_pages,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of every stage."""

    seed: int = setting(0, "Random seed.", minimum=0, maximum=2**63 - 1)
    precision: str = setting(
        "auto",
        "Compute precision; auto selects bf16 where a measurement finds it faster than fp32.",
        choices=PRECISIONS,
    )
    max_length: int = setting(
        1024,
        "Maximum sequence length in tokens; longer prompts are truncated from the left.",
        minimum=8,
        maximum=131_072,
    )


def max_tokens_per_forward_setting(default: int) -> Any:
    return setting(
        default,
        "Maximum tokens in one forward pass, padding included; affects memory and speed, not the result.",
        minimum=16,
        maximum=MAX_TOKENS,
    )


def epochs_setting(default: int) -> Any:
    return setting(default, "Number of passes over the training data.", minimum=1, maximum=1000)


def held_out_setting(unit: str = "prompts") -> Any:
    return setting(
        0.1,
        f"Fraction of the {unit} held out for evaluation where no evaluation file is given.",
        minimum=0.0,
        maximum=0.5,
    )


def max_new_tokens_setting(default: int) -> Any:
    return setting(default, "Maximum response length in tokens.", minimum=1, maximum=32_768)


def long_prompts_setting() -> Any:
    return setting(
        "cut",
        "Prompts longer than the model or max_length allows: remove their oldest turns (cut) or end with an error "
        "(refuse).",
        choices=("cut", "refuse"),
    )


def unreadable_rows_setting() -> Any:
    return setting(
        "refuse",
        "Input lines that are no valid row: end with an error (refuse), or skip and count them (skip).",
        choices=("refuse", "skip"),
    )


def chat_template_setting() -> Any:
    return setting(
        "own",
        "Chat template: the tokenizer's own (own), or role: text for a tokenizer without one (plain).",
        choices=("own", "plain"),
    )


def documents_setting() -> Any:
    return setting(
        "auto",
        "Document separator in a .txt file: one blank line (blocks), two blank lines (sections) or none (file).",
        choices=("auto", "blocks", "sections", "file"),
    )
