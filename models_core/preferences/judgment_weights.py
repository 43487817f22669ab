"""How much a judgment counts: what its row says, whose it is, and whether a machine made it."""

from models_core.contract.records import Ranking
from models_core.contract.settings import PreferenceSettings
from models_core.contract.settings.composite_values import labeler_weights


class Weights:
    """The weight of rankings under some settings."""

    def __init__(self, settings: PreferenceSettings) -> None:
        self.of_machines = settings.ai_weight
        self.of_labelers = labeler_weights(settings.labeler_weights)

    def of(self, ranking: Ranking) -> float:
        own = self.of_labelers.get(ranking.labeler or "", 1.0)
        return ranking.weight * own * (self.of_machines if ranking.is_by_machine else 1.0)
