"""How much a judgment counts: what its row says, whose it is, and whether a machine made it."""

import math

from models_core.config import BadInput, PreferenceSettings
from models_core.records import Ranking


class Weights:
    """The weight of rankings under some settings. Raises BadInput for settings that cannot be read."""

    def __init__(self, settings: PreferenceSettings) -> None:
        self.of_machines = settings.ai_weight
        self.of_labelers = labeler_weights(settings.labeler_weights)

    def of(self, ranking: Ranking) -> float:
        own = self.of_labelers.get(ranking.labeler or "", 1.0)
        return ranking.weight * own * (self.of_machines if ranking.is_by_machine else 1.0)


def labeler_weights(text: str) -> dict[str, float]:
    """{"anna": 2.0, "ben": 0.5} from "anna=2, ben=0.5". Raises BadInput."""
    weights = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, number = part.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not name.strip() or not math.isfinite(weight) or weight < 0:
            raise BadInput(
                f"labeler_weights takes NAME=WEIGHT, parted by commas, with weights from 0 on, not {part!r}."
            )
        weights[name.strip()] = weight
    return weights
