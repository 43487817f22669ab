"""Pairs to read: where the model is surest and people say otherwise, and some where it is right, for contrast."""

import random
from typing import Any

import numpy as np
from scipy.special import expit

from models_core.records import Ranking
from models_core.reward_report.judged import Pairs, comparison
from models_core.reward_report.measures.labelers import votes

MISTAKES = 10
RIGHT = 5
LONGEST_TEXT = 6000
"""Letters of a text that a report holds."""


def examples(pairs: Pairs, *, shift: float, scale: float) -> dict[str, list[dict[str, Any]]]:
    """One pair a prompt, the surest first. Where several people judged a pair, most of them decide what is right."""
    cast = votes([judged.ranking for judged in pairs.judgments])
    mistakes: dict[int, int] = {}
    right: dict[int, list[int]] = {}
    for place in np.argsort(-np.abs(pairs.difference), kind="stable").tolist():
        said, opposed = _voters(pairs, place, cast)
        if len(said) <= len(opposed) or pairs.difference[place] == 0:
            continue
        prompt = int(pairs.prompt[place])
        if pairs.difference[place] < 0:
            mistakes.setdefault(prompt, place)
        else:
            right.setdefault(prompt, []).append(place)
    generator = random.Random(0)
    drawn = [generator.choice(right[prompt]) for prompt in generator.sample(sorted(right), min(RIGHT, len(right)))]
    return {
        "mistakes": [_example(pairs, at, cast, shift=shift, scale=scale) for at in list(mistakes.values())[:MISTAKES]],
        "right": [_example(pairs, at, cast, shift=shift, scale=scale) for at in drawn],
    }


def _voters(pairs: Pairs, place: int, cast: dict[Any, list[Ranking]]) -> tuple[list[Ranking], list[Ranking]]:
    """Those who prefer the pair's better response, and those who prefer the other."""
    ranking = pairs.of(place).ranking
    better, worse = (ranking.responses[int(places[place])].text for places in (pairs.better, pairs.worse))
    key = comparison(ranking)
    return cast.get((key, better, worse), [ranking]), cast.get((key, worse, better), [])


def _example(pairs: Pairs, place: int, cast: dict[Any, list[Ranking]], *, shift: float, scale: float) -> dict[str, Any]:
    judged = pairs.of(place)
    ranking = judged.ranking
    said, opposed = _voters(pairs, place, cast)

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
        "said_by": [_voter(row) for row in said],
        "opposed_by": [_voter(row) for row in opposed],
    }


def _voter(ranking: Ranking) -> dict[str, str | None]:
    return {"labeler": ranking.labeler, "judge": ranking.judge, "id": ranking.id}


def _text(text: str) -> dict[str, Any]:
    return {"text": text[:LONGEST_TEXT], "cut": len(text) > LONGEST_TEXT}
