"""TRL's conversational data sets: preference pairs (prompt, chosen, rejected) and prompt-completion rows.

A ranking becomes one row for each of its strict pairs; ties and responses that weren't ranked have no place in TRL's
format: they are left out and counted. What a row says of its origin stands beside, in columns that TRL ignores.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.exporters.export import RowExporter

LEFT_OUT = ("responses", "response", "margin", "weight", "seconds", "scale", "rubric", "revision", "comment")


def _completion(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


class TRLExporter(RowExporter):
    name, label = "trl", gettext_noop("TRL pairs")
    has_weights = False

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        prompt = {"prompt": row["prompt"]}
        origin = {key: value for key, value in row.items() if key not in LEFT_OUT and key != "prompt"}
        if kind == "prompts":
            return ({**prompt, **origin},)
        if kind == "demonstrations":
            return ({**prompt, "completion": _completion(row["response"]), **origin},)
        if kind == "ratings":
            return [
                {
                    **prompt,
                    "completion": _completion(item["text"]),
                    "ratings": item.get("ratings", {}),
                    **{
                        key: item[key]
                        for key in ("model", "author", "author_kind", "flags", "acceptable")
                        if key in item
                    },
                    **origin,
                    **{key: row[key] for key in ("scale", "seconds", "rubric", "revision", "comment") if key in row},
                }
                for item in row["responses"]
            ]
        return [
            {
                **prompt,
                "chosen": _completion(better["text"]),
                "rejected": _completion(worse["text"]),
                **({"models": names} if any(names := [better.get("model"), worse.get("model")]) else {}),
                **origin,
            }
            for better, worse in _pairs(row)
            if better["rank"] < worse["rank"]
        ]

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        if kind != "rankings":
            return Counter()
        tied = sum(better["rank"] == worse["rank"] for better, worse in _pairs(row))
        unranked = sum(response["rank"] is None for response in row["responses"])
        return Counter({"left_out_tied_pairs": tied, "left_out_unranked_responses": unranked})


def _pairs(row: dict[str, Any]) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    """Every two ranked responses of a ranking, the better one first where one is."""
    ranked = [response for response in row["responses"] if response["rank"] is not None]
    return combinations(sorted(ranked, key=lambda response: response["rank"]), 2)
