"""Whether heads disagree more about the pairs that they get wrong."""

import pytest
import torch

from models_core.modeling.packing import Group
from models_core.preferences.encoding import EncodedComparison, Example
from models_core.preferences.ensemble_disagreement import disagreement_metrics
from models_core.preferences.ranking_loss import Pair


def example(*pairs: Pair) -> Example:
    comparison = EncodedComparison(pairs=pairs, weight=1.0, rows=(), indices=())
    return Example(Group([1], [[2], [3], [4]]), [comparison])


def test_measures_by_hand() -> None:
    """Two heads. Pairs 0 > 1, 0 > 2 and 1 > 2, whose differences are (3, 1), (-1, -3) and (-4, -4): deviations 1, 1 and
    0. The last two are wrong: one of them ties with the right one, one is below it. A tie of the judge counts nowhere.
    """
    scores = torch.tensor([[3.0, 1.0], [0.0, 0.0], [4.0, 4.0]])
    first = example(Pair(0, 1, 1.0), Pair(0, 2, 1.0), Pair(1, 2, 1.0), Pair(2, 1, 0.5))
    assert disagreement_metrics([first], [scores]) == pytest.approx(
        {"ensemble_std": 1 / 3, "ensemble_disagreement": 2 / 3, "disagreement_auc": (0.5 + 0.0) / 2}
    )


@pytest.mark.parametrize("better", [0, 1])
def test_where_all_are_right_or_all_wrong_disagreement_tells_nothing(better: int) -> None:
    scores = torch.tensor([[3.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    assert disagreement_metrics([example(Pair(better, 1 - better, 1.0))], [scores])["disagreement_auc"] is None
