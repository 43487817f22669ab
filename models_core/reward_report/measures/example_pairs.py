"""Pairs to read: where the model is surest and people say otherwise, and some where it is right, for contrast."""

import random
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from models_core.contract.records import Ranking
from models_core.reward_report.heldout_judgments import Pairs, comparison
from models_core.reward_report.measures.labelers import votes

MISTAKES = 10
RIGHT = 5
LONGEST_TEXT = 6000
"""Letters of a text that a report holds."""


def examples(pairs: Pairs, *, shift: float, scale: float) -> dict[str, list[dict[str, Any]]]:
    """One pair a prompt, the surest first. Where several people judged a pair, most of them decide what is right."""
    rankings = [judged.ranking for judged in pairs.judgments]
    cast, compared = votes(rankings), [comparison(ranking) for ranking in rankings]

    def voters(place: int) -> Voters:
        number = int(pairs.judgment[place])
        responses = rankings[number].responses
        better, worse = responses[int(pairs.better[place])].text, responses[int(pairs.worse[place])].text
        said = cast.get((compared[number], better, worse), [rankings[number]])
        return Voters(said, cast.get((compared[number], worse, better), []))

    mistakes: dict[int, int] = {}
    right: dict[int, list[int]] = {}
    for place in np.argsort(-np.abs(pairs.difference), kind="stable").tolist():
        said, opposed = voters(place)
        if len(said) <= len(opposed) or pairs.difference[place] == 0:
            continue
        prompt = int(pairs.prompt[place])
        if pairs.difference[place] < 0:
            mistakes.setdefault(prompt, place)
        else:
            right.setdefault(prompt, []).append(place)
    generator = random.Random(0)
    drawn = [generator.choice(right[prompt]) for prompt in generator.sample(sorted(right), min(RIGHT, len(right)))]
    chosen = {"mistakes": list(mistakes.values())[:MISTAKES], "right": drawn}
    return {
        name: [_example(pairs, place, voters(place), shift=shift, scale=scale) for place in places]
        for name, places in chosen.items()
    }


class Voters(NamedTuple):
    """Those who prefer the pair's better response, and those who prefer the other."""

    said: list[Ranking]
    opposed: list[Ranking]


def _example(pairs: Pairs, place: int, voters: Voters, *, shift: float, scale: float) -> dict[str, Any]:
    judged = pairs.of(place)
    ranking = judged.ranking

    def answer(number: int) -> dict[str, Any]:
        response, logit = ranking.responses[number], judged.logits[number]
        assert logit is not None  # a pair has two
        return {
            **_text(response.text),
            "score": (logit - shift) / scale,
            "rank": response.rank,
            "model": response.model,
            "tokens": judged.lengths[number],
        }

    return {
        "id": ranking.id,
        "language": ranking.lang,
        "source": ranking.source,
        "prompt": [{"role": turn["role"], **_text(turn["content"])} for turn in ranking.messages],
        "preferred": answer(int(pairs.better[place])),
        "other": answer(int(pairs.worse[place])),
        "confidence": float(expit(abs(pairs.difference[place]))),
        "said_by": [_voter(row) for row in voters.said],
        "opposed_by": [_voter(row) for row in voters.opposed],
    }


def _voter(ranking: Ranking) -> dict[str, str | None]:
    return {"labeler": ranking.labeler, "judge": ranking.judge, "id": ranking.id}


def _text(text: str) -> dict[str, Any]:
    return {"text": text[:LONGEST_TEXT], "cut": len(text) > LONGEST_TEXT}
