"""Open-Assistant's message trees: a ranking is a chat whose last message has the ranked replies below it."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.exporters.export import CHATS, RowExporter

ROLES = {"user": "prompter", "assistant": "assistant"}


class ReplyTreeExporter(RowExporter):
    name, label = "oasst", gettext_noop("Open-Assistant trees")
    description = (
        "UTF-8 JSON lines, an Open-Assistant message tree each, with ranks from 0. Chats with a system turn are left "
        "out; labelers, margins, ratings and flags have no place there."
    )
    kinds = ("rankings",)
    has_weights = False

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        if row["prompt"][0]["role"] == "system":
            return ()
        replies: list[dict[str, Any]] = [
            {
                "message_id": f"{row['id']}-{number}",
                "text": response["text"],
                "role": "assistant",
                "lang": row["lang"],
                **({} if response["rank"] is None else {"rank": response["rank"] - 1}),
                "synthetic": "model" in response,
                **({"model_name": response["model"]} if "model" in response else {}),
                "replies": [],
            }
            for number, response in enumerate(row["responses"], start=1)
        ]
        for place, turn in reversed(list(enumerate(row["prompt"]))):
            last = place == len(row["prompt"]) - 1
            message = {
                "message_id": row["id"] if last else f"{row['id']}-turn-{place + 1}",
                "text": turn["content"],
                "role": ROLES[turn["role"]],
                "lang": row["lang"],
                "replies": replies,
            }
            replies = [message]
        return ({"message_tree_id": row["id"], "prompt": replies[0]},)

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        return Counter({CHATS: int(row["prompt"][0]["role"] == "system")})
