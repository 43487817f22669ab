"""The same two answers ordered both ways: by one labeler, who contradicts himself, or by several, who disagree."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from models_core.contract.records import Messages, Ranking
from models_core.preferences.skipped_rows import NAMED
from models_core.rl.losses import Pair

PromptKey = tuple[tuple[str, str], ...]


class Ordered(NamedTuple):
    """A ranking with its pairs, as places in its responses."""

    ranking: Ranking
    pairs: list[Pair]


def prompt_key(messages: Messages) -> PromptKey:
    """A chat as something that can be looked up."""
    return tuple((message["role"], message["content"]) for message in messages)


class Contradictions:
    """Who ordered which two texts which way, over all rankings of a file."""

    def __init__(self, orders: Iterable[Ordered]) -> None:
        # (prompt, the two texts in alphabetical order) -> who -> was the first of them better -> rows that say so
        self._said: dict[tuple[PromptKey, str, str], dict[str, dict[bool, list[str]]]] = {}
        for ranking, pairs in orders:
            prompt = prompt_key(ranking.messages)
            for pair in pairs:
                if pair.target != 1.0:
                    continue
                better, worse = ranking.responses[pair.better].text, ranking.responses[pair.worse].text
                first, second = sorted((better, worse))
                by = self._said.setdefault((prompt, first, second), {}).setdefault(judge_of(ranking), {})
                by.setdefault(better == first, []).append(ranking.id)
        self._own = {
            (*pair, who)
            for pair, people in self._said.items()
            for who, ways in people.items()
            if who and len(ways) == 2
        }

    def is_own(self, ranking: Ranking, pair: Pair) -> bool:
        """Whether this pair's judge also said the opposite."""
        first, second = sorted(ranking.responses[place].text for place in (pair.better, pair.worse))
        return (prompt_key(ranking.messages), first, second, judge_of(ranking)) in self._own

    def own(self) -> list[str]:
        """Each pair that one judge ordered both ways: "anna: rows 17, 3"."""
        sentences = []
        for prompt, first, second, who in sorted(self._own):
            ways = self._said[prompt, first, second][who]
            sentences.append(f"{who}: rows {', '.join(sorted({row for rows in ways.values() for row in rows}))}")
        return sentences

    def report(self) -> dict[str, Any]:
        """For result.json: pairs that one judge ordered both ways, and pairs that several ordered differently."""
        own = self.own()
        opinions = [list(_opinions(people)) for people in self._said.values()]
        by_several = [held for held in opinions if len({holder for holder, _ in held}) > 1]
        return {
            "own_pairs": len(own),
            "own_rows": own[:NAMED],
            "pairs_judged_by_several": len(by_several),
            "pairs_disagreed_on": sum(len({way for _, way in held}) > 1 for held in by_several),
        }


def _opinions(people: dict[str, dict[bool, list[str]]]) -> Iterator[tuple[str, bool]]:
    """(who, which way) of a pair. Rows that don't say who judged are each somebody's."""
    for who, ways in people.items():
        for way, rows in ways.items():
            for row in rows:
                yield who or f"row {row}", way


def judge_of(ranking: Ranking) -> str:
    """Who judged: the labeler, or the machine that stands for one; empty where nobody knows."""
    return ranking.labeler or (ranking.judge or "" if ranking.is_by_machine else "")
