"""The learning rate as a function of the step alone, so that a resumed run needs to restore nothing."""

import math


def rate(step: int, *, steps: int, peak: float, warmup: float, decay: bool) -> float:
    """Learning rate of update `step` (from 0) out of `steps`.

    Rises linearly over the first `warmup` part of the updates, of which the very first already moves; then stays at
    `peak`, or with `decay` falls linearly, so that the last update is a small one but not nothing.
    """
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (steps - step) / (steps - rising) if decay else peak


def cosine(step: int, *, steps: int, peak: float, warmup: float, final: float) -> float:
    """Learning rate of update `step` (from 0) out of `steps`: half a cosine after the rise (1608.03983, equation 5).

    Rises as `rate` does; then falls from `peak` to the part `final` of it, which the last update has.
    """
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - 1 - rising)
    return peak * (final + (1 - final) * (1 + math.cos(math.pi * done)) / 2)
