"""Rankings as verdicts: which text is better than which, by how much, and how much that counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from models_core.config import RewardConfig
from models_core.losses import Pair, ranked_pairs
from models_core.preferences.left_out import LeftOut
from models_core.records import Messages, Ranking


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """An order of some texts. `pairs` are places in `texts`; `rows` are what it was made from."""

    messages: Messages
    texts: tuple[str, ...]
    pairs: tuple[Pair, ...]
    weight: float
    rows: tuple[Ranking, ...]


def verdicts(rankings: Sequence[Ranking], *, settings: RewardConfig, left_out: LeftOut) -> list[Verdict]:
    """Every ranking that orders two different texts, as a verdict."""
    made = []
    for ranking in rankings:
        pairs = ranked_pairs(
            [response.rank for response in ranking.responses], ties="half" if settings.ties == "half" else "skip"
        )
        texts = tuple(response.text for response in ranking.responses)
        different = [pair for pair in pairs if texts[pair.better] != texts[pair.worse]]
        left_out.add("equal_pairs", ranking.id, times=len(pairs) - len(different))
        if not different or ranking.weight <= 0:
            left_out.add("no_order", ranking.id)
            continue
        margin = (ranking.margin or 0.0) if settings.use_margin else 0.0
        made.append(
            Verdict(
                messages=ranking.messages,
                texts=texts,
                pairs=tuple(pair._replace(margin=margin if pair.target == 1.0 else 0.0) for pair in different),
                weight=ranking.weight,
                rows=(ranking,),
            )
        )
    return made
