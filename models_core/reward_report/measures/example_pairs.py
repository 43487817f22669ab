"""Pairs to read: the model's most confident errors, and some correct ones for contrast."""

import random
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from models_core.contract.rows.records import Ranking
from models_core.reward_report.heldout_judgments import Pairs, comparison_key
from models_core.reward_report.measures.labelers import votes

MAX_MISTAKES = 10
CORRECT = 5
MAX_TEXT_CHARS = 6000
"""Characters of a text in the report."""


def example_pairs(pairs: Pairs, *, shift: float, scale: float) -> dict[str, list[dict[str, Any]]]:
    """One pair a prompt, the most confident first. The majority of a pair's judgments decides what is correct."""
    rankings = [judgment.ranking for judgment in pairs.judgments]
    preferences, keys = votes(rankings), [comparison_key(ranking) for ranking in rankings]

    def voters(index: int) -> Voters:
        number = int(pairs.judgment[index])
        responses = rankings[number].responses
        better, worse = responses[int(pairs.better[index])].text, responses[int(pairs.worse[index])].text
        agreeing = preferences.get((keys[number], better, worse), [rankings[number]])
        return Voters(agreeing, preferences.get((keys[number], worse, better), []))

    mistakes: dict[int, int] = {}
    correct: dict[int, list[int]] = {}
    for index in np.argsort(-np.abs(pairs.difference), kind="stable").tolist():
        agreeing, opposed = voters(index)
        if len(agreeing) <= len(opposed) or pairs.difference[index] == 0:
            continue
        prompt = int(pairs.prompt[index])
        if pairs.difference[index] < 0:
            mistakes.setdefault(prompt, index)
        else:
            correct.setdefault(prompt, []).append(index)
    generator = random.Random(0)
    drawn = [
        generator.choice(correct[prompt]) for prompt in generator.sample(sorted(correct), min(CORRECT, len(correct)))
    ]
    chosen = {"mistakes": list(mistakes.values())[:MAX_MISTAKES], "right": drawn}
    return {
        name: [_example(pairs, index, voters(index), shift=shift, scale=scale) for index in indices]
        for name, indices in chosen.items()
    }


class Voters(NamedTuple):
    """Judgments that agree with the pair's order, and those with the opposite order."""

    agreeing: list[Ranking]
    opposed: list[Ranking]


def _example(pairs: Pairs, index: int, voters: Voters, *, shift: float, scale: float) -> dict[str, Any]:
    judgment = pairs.judgment_of(index)
    ranking = judgment.ranking

    def response_entry(number: int) -> dict[str, Any]:
        response, logit = ranking.responses[number], judgment.logits[number]
        assert logit is not None  # a pair has two
        return {
            **_text(response.text),
            "score": (logit - shift) / scale,
            "rank": response.rank,
            "model": response.model,
            "tokens": judgment.lengths[number],
        }

    return {
        "id": ranking.id,
        "language": ranking.lang,
        "source": ranking.source,
        "prompt": [{"role": turn["role"], **_text(turn["content"])} for turn in ranking.messages],
        "preferred": response_entry(int(pairs.better[index])),
        "other": response_entry(int(pairs.worse[index])),
        "confidence": float(expit(abs(pairs.difference[index]))),
        "said_by": [_voter(row) for row in voters.agreeing],
        "opposed_by": [_voter(row) for row in voters.opposed],
    }


def _voter(ranking: Ranking) -> dict[str, str | None]:
    return {"labeler": ranking.labeler, "judge": ranking.judge, "id": ranking.id}


def _text(text: str) -> dict[str, Any]:
    return {"text": text[:MAX_TEXT_CHARS], "cut": len(text) > MAX_TEXT_CHARS}
