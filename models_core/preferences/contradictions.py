"""Contradictions: the same two responses ordered both ways, by one judge or by several."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from models_core.contract.rows.prompt_identity import digest
from models_core.contract.rows.records import Ranking
from models_core.preferences.ranking_loss import Pair
from models_core.preferences.skipped_rows import MAX_NAMED


class RankingPairs(NamedTuple):
    """A ranking and its pairs, as indices of its responses."""

    ranking: Ranking
    pairs: list[Pair]


class Contradictions:
    """Orders of pairs of texts by judge, over all rankings of a file."""

    def __init__(self, rankings: Iterable[RankingPairs]) -> None:
        # (prompt, both texts in alphabetical order) -> judge -> whether the first is better -> ids of rows
        self._orders: dict[tuple[str, str, str], dict[str, dict[bool, list[str]]]] = {}
        for ranking, pairs in rankings:
            prompt = digest(ranking.messages)
            for pair in pairs:
                if pair.target != 1.0:
                    continue
                better, worse = ranking.responses[pair.better].text, ranking.responses[pair.worse].text
                first, second = sorted((better, worse))
                by_judge = self._orders.setdefault((prompt, first, second), {})
                rows = by_judge.setdefault(judge_name(ranking), {})
                rows.setdefault(better == first, []).append(ranking.id)
        self._own = {
            (*pair, judge)
            for pair, by_judge in self._orders.items()
            for judge, rows in by_judge.items()
            if judge and len(rows) == 2
        }

    def is_own(self, ranking: Ranking, pair: Pair) -> bool:
        """Whether the judge of this pair ordered it the other way too."""
        first, second = sorted(ranking.responses[index].text for index in (pair.better, pair.worse))
        return (digest(ranking.messages), first, second, judge_name(ranking)) in self._own

    def own(self) -> list[str]:
        """A text for each pair that one judge ordered both ways: "anna: rows 17, 3"."""
        texts = []
        for prompt, first, second, judge in sorted(self._own):
            rows = self._orders[prompt, first, second][judge]
            texts.append(f"{judge}: rows {', '.join(sorted({row for ids in rows.values() for row in ids}))}")
        return texts

    def report(self) -> dict[str, Any]:
        """For result.json: pairs that one judge ordered both ways, and pairs that several ordered differently."""
        own = self.own()
        judgments = [list(_judgments(by_judge)) for by_judge in self._orders.values()]
        by_several = [pair for pair in judgments if len({judge for judge, _ in pair}) > 1]
        return {
            "own_pairs": len(own),
            "own_rows": own[:MAX_NAMED],
            "pairs_judged_by_several": len(by_several),
            "pairs_disagreed_on": sum(len({order for _, order in pair}) > 1 for pair in by_several),
        }


def _judgments(by_judge: dict[str, dict[bool, list[str]]]) -> Iterator[tuple[str, bool]]:
    """(judge, order) of a pair. Each row without a judge counts as a judge of its own."""
    for judge, rows in by_judge.items():
        for order, ids in rows.items():
            for row in ids:
                yield judge or f"row {row}", order


def judge_name(ranking: Ranking) -> str:
    """The labeler, or the AI judge; empty where the row names neither."""
    return ranking.labeler or (ranking.judge or "" if ranking.is_by_machine else "")
