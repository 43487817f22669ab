"""Names of metrics that the recipes write and pages read, and what pages compute from them."""

import math

MEASURES = {"phases": ("kl", "score"), "held_out": ("eval_kl", "eval_score")}
"""Names of the KL divergence and of the score in a run's metrics: of its phases, and of held-out prompts."""


def root(kl: float) -> float:
    """The square root of a KL divergence in nats; an estimate from samples may be slightly below 0."""
    return math.sqrt(max(kl, 0.0))
