"""Whether the probabilities of a reward model can be believed: sigmoid(difference of logits) against what is right.

The reliability curve and the expected calibration error (ECE) are those of Guo et al. 2017, over ten equal parts of
[0.5, 1]: the response that scores higher is said to be preferred with that confidence. Temperature scaling is theirs
too: the T for which sigmoid(difference / T) fits the held-out pairs best.
"""

from typing import Any

import numpy as np
from scipy import optimize
from scipy.special import expit

from models_core.reward_report.heldout_judgments import Floats, Pairs, Places
from models_core.reward_report.measures.intervals import share

BINS = 10
DRAWS = 500
WIDEST = 1e3
"""A temperature beyond this, or below one over it, is none: no finite one fits best."""


def calibration(pairs: Pairs) -> dict[str, Any]:
    """ECE, the curve's bins, and the temperature with the ECE and the loss that it would leave."""
    difference = pairs.difference
    temperature = best_temperature(difference)
    scaled = difference if temperature is None else difference / temperature
    return {
        "ece": expected_error(difference),
        "ece_of_chance": error_of_chance(difference),
        "log_loss": log_loss(difference),
        "temperature": temperature,
        "ece_at_temperature": None if temperature is None else expected_error(scaled),
        "log_loss_at_temperature": None if temperature is None else log_loss(scaled),
        "bins": curve(pairs),
    }


def curve(pairs: Pairs) -> list[dict[str, Any]]:
    """One row a bin that holds pairs: the mean confidence, and the part that is right with its interval."""
    confidences = expit(np.abs(pairs.difference))
    bins = _bins(confidences)
    rows = []
    for number in np.unique(bins):
        inside = bins == number
        found = share(pairs.right[inside], pairs.prompt[inside]).figures(name="right")
        low = 0.5 + 0.5 * int(number) / BINS
        rows.append({"from": low, "to": low + 0.5 / BINS, "confidence": float(confidences[inside].mean()), **found})
    return rows


def expected_error(difference: Floats) -> float:
    """ECE: the mean over pairs of how far their bin's confidence is from how often it is right."""
    confidences = expit(np.abs(difference))
    return _error(confidences, np.heaviside(difference, 0.5), _bins(confidences))


def error_of_chance(difference: Floats) -> float:
    """The ECE below which 95 of 100 perfectly calibrated models with these confidences stay: few pairs look uneven.

    As if the pairs were independent, which makes it rather too small.
    """
    confidences = expit(np.abs(difference))
    bins = _bins(confidences)
    generator = np.random.default_rng(0)
    errors = [_error(confidences, generator.random(len(confidences)) < confidences, bins) for _ in range(DRAWS)]
    return float(np.quantile(errors, 0.95))


def log_loss(difference: Floats) -> float:
    """Mean of -log sigmoid(difference): the loss a reward model is trained by, per pair."""
    return float(np.logaddexp(0.0, -difference).mean())


def best_temperature(difference: Floats) -> float | None:
    """The T that minimises log_loss(difference / T). None where none does: no better than chance, or all right.

    The loss is convex in 1/T, so its slope is zero in one place at most.
    """

    def slope(inverse: float) -> float:
        return float(-(difference * expit(-difference * inverse)).mean())

    if slope(1 / WIDEST) >= 0 or slope(WIDEST) <= 0:
        return None
    return 1 / optimize.brentq(slope, 1 / WIDEST, WIDEST)


def _bins(confidences: Floats) -> Places:
    return np.minimum(((confidences - 0.5) * 2 * BINS).astype(np.int64), BINS - 1)


def _error(confidences: Floats, right: Any, bins: Places) -> float:
    gaps = np.bincount(bins, weights=right - confidences, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidences))
