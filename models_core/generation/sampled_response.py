"""A response to a prompt, whether a model in memory or a server generated it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SampledResponse:
    """`tokens` are without EOS.

    `logprob` is None where a server sent none that is a number. `is_null`: it sent no text at all; `is_repaired`: it
    sent halves of surrogate pairs, now U+FFFD.
    """

    text: str
    finish_reason: str
    logprob: float | None
    tokens: int
    is_null: bool = False
    is_repaired: bool = False
