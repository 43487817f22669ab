"""Liveness of a worker or the scheduler for Kubernetes: `python -m config.monitoring.probe` ends with status 0 or 1.

The worker touches the file that LIVENESS_FILE names, as it does for Hone's own supervisor (config.serving.liveness).
Without a broker it touches nothing, which is no reason to restart it.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from config.environment import Environment
from config.serving import broker, liveness


def problem(variables: Mapping[str, str], *, is_reachable: Callable[[str], bool] = broker.is_reachable) -> str:
    """Why the process should be started again; empty while it need not be."""
    named = variables.get(liveness.VARIABLE, "")
    if not named:
        return f"{liveness.VARIABLE} names no file."

    def is_broker_responding() -> bool:
        url = Environment(variables).broker("REDIS_URL")
        return not url or is_reachable(url)

    if liveness.LivenessFile(Path(named), is_broker_responding=is_broker_responding).is_responding():
        return ""
    return f"{named} was not touched for {liveness.SILENCE_SECONDS:.0f} s, and the broker responds."


if __name__ == "__main__":
    sys.exit(problem(os.environ) or 0)
