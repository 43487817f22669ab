"""The product's simulated labelers, outside of its web application: they perceive a gold reward through noise."""

import os
from collections.abc import Sequence
from itertools import combinations

import numpy as np

AGREEMENT = 0.73
"""Of two simulated labelers on a pair, as InstructGPT's labelers agreed."""


def calibrated(scores: Sequence[Sequence[float]]) -> float:
    """The noise at which two labelers agree on AGREEMENT of the pairs of responses of these scores."""
    from annotate.labeling.simulation import calibrated_noise

    differences = np.array([abs(a - b) for own in scores for a, b in combinations(own, 2)])
    return float(calibrated_noise(differences, agreement=AGREEMENT))


def set_up() -> None:
    """Django's settings, which they are read with."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
