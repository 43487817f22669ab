"""The weight of a judgment: of its row, of its labeler, and of AI judges."""

from models_core.contract.rows.records import Ranking
from models_core.contract.settings import PreferenceSettings
from models_core.contract.settings.composite_values import labeler_weights


class JudgmentWeights:
    """Weights of rankings under a run's settings."""

    def __init__(self, settings: PreferenceSettings) -> None:
        self.ai_weight = settings.ai_weight
        self.labeler_weights = labeler_weights(settings.labeler_weights)

    def weight(self, ranking: Ranking) -> float:
        labeler_weight = self.labeler_weights.get(ranking.labeler or "", 1.0)
        return ranking.weight * labeler_weight * (self.ai_weight if ranking.is_by_machine else 1.0)
