"""TRL's data sets: conversational (`trl`), plain texts (`trl_text`), and unpaired for KTO (`kto`).

A ranking becomes one row for each of its strict pairs; ties and responses that weren't ranked have no place in TRL's
format: they are left out and counted. What a row says of its origin stands beside, in columns that TRL ignores.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.exporters.export import (
    CHATS,
    RowExporter,
    lost_in_pairs,
    single_question,
    strict_pairs,
)

LEFT_OUT = ("responses", "response", "margin", "weight", "seconds", "scale", "rubric", "revision", "comment")
JUDGED = ("scale", "seconds", "rubric", "revision", "comment")


def completion(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def origin_of(row: dict[str, Any]) -> dict[str, Any]:
    """What stands beside a pair: whatever belongs to the prompt or says where it comes from."""
    return {key: value for key, value in row.items() if key not in LEFT_OUT and key != "prompt"}


def models_of(better: dict[str, Any], worse: dict[str, Any]) -> dict[str, Any]:
    names = [better.get("model"), worse.get("model")]
    return {"models": names} if any(names) else {}


class TRLExporter(RowExporter):
    name, label = "trl", gettext_noop("TRL pairs")
    description = "UTF-8 JSON lines in TRL's conversational form. A ranking is a line for each of its strict pairs."
    has_weights = False

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        prompt = {"prompt": row["prompt"]}
        origin = origin_of(row)
        if kind == "prompts":
            return ({**prompt, **origin},)
        if kind == "demonstrations":
            return ({**prompt, "completion": completion(row["response"]), **origin},)
        if kind == "ratings":
            return [
                {
                    **prompt,
                    "completion": completion(item["text"]),
                    "ratings": item.get("ratings", {}),
                    **{
                        key: item[key]
                        for key in ("model", "author", "author_kind", "flags", "acceptable")
                        if key in item
                    },
                    **origin,
                    **{key: row[key] for key in JUDGED if key in row},
                }
                for item in row["responses"]
            ]
        return [
            {
                **prompt,
                "chosen": completion(better["text"]),
                "rejected": completion(worse["text"]),
                **models_of(better, worse),
                **origin,
            }
            for better, worse in strict_pairs(row)
        ]

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        return lost_in_pairs(row) if kind == "rankings" else Counter()


class TRLTextExporter(RowExporter):
    """TRL's standard form: texts in place of turns, so that a chat template isn't applied."""

    name, label = "trl_text", gettext_noop("TRL, plain texts")
    description = (
        "UTF-8 JSON lines in TRL's standard form, with texts in place of turns. Prompts of several turns are left out: "
        "how they become a text is a matter of a model's template."
    )
    kinds = ("rankings", "demonstrations", "prompts")
    has_weights = False

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        question = single_question(row["prompt"])
        if question is None:
            return ()
        prompt = {"prompt": question}
        origin = origin_of(row)
        if kind == "prompts":
            return ({**prompt, **origin},)
        if kind == "demonstrations":
            return ({**prompt, "completion": row["response"], **origin},)
        return [
            {**prompt, "chosen": better["text"], "rejected": worse["text"], **models_of(better, worse), **origin}
            for better, worse in strict_pairs(row)
        ]

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        if single_question(row["prompt"]) is None:
            return Counter({CHATS: 1})
        return lost_in_pairs(row) if kind == "rankings" else Counter()


class KTOExporter(RowExporter):
    """Unpaired preferences: a response is wanted or not. Of a ranking the first tier is and the last isn't, since what
    lies between is neither; of a rating its label says it, or that it isn't acceptable."""

    name, label = "kto", gettext_noop("TRL unpaired (KTO)")
    description = (
        "UTF-8 JSON lines of unpaired preferences in TRL's conversational form. Of a ranking the best responses have "
        "the label true and the worst false; those between, and ratings without a label, are left out."
    )
    kinds = ("rankings", "ratings")
    has_weights = False

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        origin = origin_of(row)
        return [
            {
                "prompt": row["prompt"],
                "completion": completion(item["text"]),
                "label": label,
                **{key: item[key] for key in ("model",) if key in item},
                **origin,
            }
            for item, label in labeled(row, kind=kind)
        ]

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        return Counter({"left_out_unlabeled": len(row["responses"]) - len(labeled(row, kind=kind))})


def labeled(row: dict[str, Any], *, kind: str) -> list[tuple[dict[str, Any], bool]]:
    """(response, whether it is wanted) of those of which that can be said."""
    if kind == "ratings":
        found = []
        for item in row["responses"]:
            label = item.get("ratings", {}).get("label")
            if label in (0, 1):
                found.append((item, bool(label)))
            elif not item.get("acceptable", True):
                found.append((item, False))
        return found
    ranks = [item["rank"] for item in row["responses"] if item["rank"] is not None]
    if len(set(ranks)) < 2:
        return []
    ends = {min(ranks): True, max(ranks): False}
    return [(item, ends[item["rank"]]) for item in row["responses"] if item["rank"] in ends]
