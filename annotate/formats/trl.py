"""TRL's conversational data sets: preference pairs (prompt, chosen, rejected) and prompt-completion rows.

A ranking becomes one row for each of its strict pairs; ties have no place in TRL's format and are left out.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.export import RowExporter


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


class TRLExporter(RowExporter):
    name, label = "trl", gettext_noop("TRL pairs")

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        if kind == "prompts":
            return ({"prompt": row["prompt"]},)
        if kind == "demonstrations":
            return ({"prompt": row["prompt"], "completion": _answer(row["response"])},)
        if kind == "ratings":
            return [
                {"prompt": row["prompt"], "completion": _answer(item["text"]), "ratings": item.get("ratings", {})}
                for item in row["responses"]
            ]
        ranked = [response for response in row["responses"] if response["rank"] is not None]
        return [
            {"prompt": row["prompt"], "chosen": _answer(better["text"]), "rejected": _answer(worse["text"])}
            for better, worse in combinations(sorted(ranked, key=lambda response: response["rank"]), 2)
            if better["rank"] < worse["rank"]
        ]
