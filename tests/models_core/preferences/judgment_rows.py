"""Rankings, written down shortly."""

from typing import Any

from models_core.contract.rows.records import Message, RankedResponse, Ranking


def ranking(*ranks: tuple[str, int | None], id: str = "r", prompt: str = "Hello", **more: Any) -> Ranking:  # noqa: A002
    """A ranking of texts: ("better", 1), ("worse", 2)."""
    responses = tuple(RankedResponse(text=text, rank=rank) for text, rank in ranks)
    return Ranking(id=id, messages=(Message(role="user", content=prompt),), responses=responses, **more)


def better(first: str, second: str, **more: Any) -> Ranking:
    """A pair whose first text is better."""
    return ranking((first, 1), (second, 2), **more)
