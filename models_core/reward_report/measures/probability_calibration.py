"""Calibration of a reward model's probabilities, sigmoid(difference of logits).

Reliability curve and expected calibration error (ECE) of Guo et al. 2017, over ten equal bins of [0.5, 1]: the
confidence that the response with the higher score is preferred. Temperature scaling is theirs too: the T for which
sigmoid(difference / T) fits the held-out pairs best.
"""

from typing import Any

import numpy as np
from scipy import optimize
from scipy.special import expit

from models_core.reward_report.heldout_judgments import Floats, Indices, Pairs
from models_core.reward_report.measures.intervals import estimate_mean

BINS = 10
DRAWS = 500
MAX_TEMPERATURE = 1e3
"""Temperatures are searched between 1 / this and this."""


def calibration_metrics(pairs: Pairs) -> dict[str, Any]:
    """ECE, reliability curve, and the fitted temperature with the ECE and loss after scaling by it."""
    difference = pairs.difference
    temperature = fit_temperature(difference)
    scaled = difference if temperature is None else difference / temperature
    return {
        "ece": expected_calibration_error(difference),
        "ece_of_chance": ece_of_chance(difference),
        "log_loss": log_loss(difference),
        "temperature": temperature,
        "ece_at_temperature": None if temperature is None else expected_calibration_error(scaled),
        "log_loss_at_temperature": None if temperature is None else log_loss(scaled),
        "bins": reliability_curve(pairs),
    }


def reliability_curve(pairs: Pairs) -> list[dict[str, Any]]:
    """One row a non-empty bin: mean confidence, and accuracy with its interval."""
    confidences = expit(np.abs(pairs.difference))
    bins = _bins(confidences)
    rows = []
    for number in np.unique(bins):
        inside = bins == number
        found = estimate_mean(pairs.correct[inside], pairs.prompt[inside]).figures(name="right")
        low = 0.5 + 0.5 * int(number) / BINS
        rows.append({"from": low, "to": low + 0.5 / BINS, "confidence": float(confidences[inside].mean()), **found})
    return rows


def expected_calibration_error(difference: Floats) -> float:
    """ECE: mean over pairs of |confidence - accuracy| of their bin; difference: (pairs,)."""
    confidences = expit(np.abs(difference))
    return _error(confidences, np.heaviside(difference, 0.5), _bins(confidences))


def ece_of_chance(difference: Floats) -> float:
    """95th percentile of the ECE of a perfectly calibrated model with these confidences: few pairs look uncalibrated.

    Pairs are taken as independent, which makes it rather too small.
    """
    confidences = expit(np.abs(difference))
    bins = _bins(confidences)
    generator = np.random.default_rng(0)
    errors = [_error(confidences, generator.random(len(confidences)) < confidences, bins) for _ in range(DRAWS)]
    return float(np.quantile(errors, 0.95))


def log_loss(difference: Floats) -> float:
    """Mean of -log sigmoid(difference), the training loss of a pair; difference: (pairs,)."""
    return float(np.logaddexp(0.0, -difference).mean())


def fit_temperature(difference: Floats) -> float | None:
    """The T that minimises log_loss(difference / T). None without a finite one: at chance level, or all correct.

    The loss is convex in 1 / T, so it has at most one stationary point.
    """

    def derivative(inverse: float) -> float:
        return float(-(difference * expit(-difference * inverse)).mean())

    if derivative(1 / MAX_TEMPERATURE) >= 0 or derivative(MAX_TEMPERATURE) <= 0:
        return None
    return 1 / optimize.brentq(derivative, 1 / MAX_TEMPERATURE, MAX_TEMPERATURE)


def _bins(confidences: Floats) -> Indices:
    return np.minimum(((confidences - 0.5) * 2 * BINS).astype(np.int64), BINS - 1)


def _error(confidences: Floats, right: Any, bins: Indices) -> float:
    gaps = np.bincount(bins, weights=right - confidences, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidences))
