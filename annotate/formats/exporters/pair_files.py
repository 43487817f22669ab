"""Formats of pairs: HH's dialogues, RewardBench's sets, and LLaMA-Factory's chats."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.exporters.export import CHATS, RowExporter, lost_in_pairs, single_question, strict_pairs
from annotate.formats.exporters.trl import labeled, origin_of

SPEAKERS = {"user": "Human", "assistant": "Assistant"}
HH_TURN = re.compile(r"\n\n(?:Human|Assistant):")


class HHExporter(RowExporter):
    """Two whole dialogues as texts. Chats with a speaker's name in a text are left out."""

    name, label = "hh", gettext_noop("Anthropic HH dialogues")
    description = (
        "UTF-8 JSON lines with two dialogues each, `chosen` and `rejected`, in Anthropic's form. What has a system "
        "turn, a speaker's name within a text or space around one is left out. Nothing else of a judgment is there."
    )
    kinds = ("rankings",)
    has_weights = False

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        return [
            {"chosen": _dialogue(row, better), "rejected": _dialogue(row, worse)}
            for better, worse in strict_pairs(row)
            if _is_dialogue(row, better, worse)
        ]

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        unfit = sum(not _is_dialogue(row, better, worse) for better, worse in strict_pairs(row))
        return lost_in_pairs(row) + Counter({CHATS: unfit})


def _dialogue(row: dict[str, Any], response: dict[str, Any]) -> str:
    turns = [*row["prompt"], {"role": "assistant", "content": response["text"]}]
    return "".join(f"\n\n{SPEAKERS[turn['role']]}: {turn['content']}" for turn in turns)


def _is_dialogue(row: dict[str, Any], *responses: dict[str, Any]) -> bool:
    """Whether the dialogues say the same when they are read."""
    texts = [turn["content"] for turn in row["prompt"]] + [response["text"] for response in responses]
    return row["prompt"][0]["role"] in SPEAKERS and not any(
        HH_TURN.search(f"\n\n{text}") or text != text.strip() for text in texts
    )


class RewardBenchExporter(RowExporter):
    name, label = "rewardbench", gettext_noop("RewardBench set")
    description = (
        "UTF-8 JSON lines of pairs as RewardBench has them, the use case as the subset. Prompts of several turns are "
        "left out."
    )
    kinds = ("rankings",)
    has_weights = False

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        question = single_question(row["prompt"])
        if question is None:
            return
        for better, worse in strict_pairs(row):
            yield {
                "id": row["id"],
                "prompt": question,
                "chosen": better["text"],
                "chosen_model": better.get("model", ""),
                "rejected": worse["text"],
                "rejected_model": worse.get("model", ""),
                "subset": row["use_case"],
                **{key: value for key, value in origin_of(row).items() if key != "id"},
            }

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        if single_question(row["prompt"]) is None:
            return Counter({CHATS: 1})
        return lost_in_pairs(row)


class LlamaFactoryExporter(RowExporter):
    """Chats of ShareGPT's form: for supervised training, DPO, or KTO, as the kind of the snapshot is."""

    name, label = "llamafactory", gettext_noop("LLaMA-Factory chats")
    description = (
        "UTF-8 JSON lines of LLaMA-Factory's ShareGPT form: whole chats of demonstrations, `chosen` and `rejected` of "
        "rankings, a `label` of ratings."
    )
    kinds = ("rankings", "demonstrations", "ratings")
    has_weights = False

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        chat = [_turn(turn["role"], turn["content"]) for turn in row["prompt"] if turn["role"] != "system"]
        system: dict[str, Any] = {"system": row["prompt"][0]["content"]} if row["prompt"][0]["role"] == "system" else {}
        origin: dict[str, Any] = {
            **system,
            **{key: row[key] for key in ("id", "source_id", "lang", "source", "split") if key in row},
        }
        judged: dict[str, Any] = {key: row[key] for key in ("labeler", "judge") if key in row}
        if kind == "demonstrations":
            return ({"conversations": [*chat, _turn("assistant", row["response"])], **origin},)
        if kind == "ratings":
            return [
                {"conversations": [*chat, _turn("assistant", item["text"])], "label": label, **origin, **judged}
                for item, label in labeled(row, kind=kind)
            ]
        return [
            {
                "conversations": chat,
                "chosen": _turn("assistant", better["text"]),
                "rejected": _turn("assistant", worse["text"]),
                **origin,
                **judged,
            }
            for better, worse in strict_pairs(row)
        ]

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        if kind == "ratings":
            return Counter({"left_out_unlabeled": len(row["responses"]) - len(labeled(row, kind=kind))})
        return lost_in_pairs(row) if kind == "rankings" else Counter()


def _turn(role: str, content: str) -> dict[str, str]:
    return {"from": {"user": "human", "assistant": "gpt"}[role], "value": content}
