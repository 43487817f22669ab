"""HelpSteer-like ratings: a line for each rated response, with a column for each criterion."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.exporters.export import RowExporter
from annotate.formats.exporters.trl import JUDGED, origin_of


class RatedResponsesExporter(RowExporter):
    name, label = "helpsteer", gettext_noop("HelpSteer-like ratings")
    description = (
        "UTF-8 JSON lines, one rated response each: the chat under `context`, the response, and a column for each of "
        "the `criteria`. Responses without a rating are left out."
    )
    kinds = ("ratings", "rankings")
    has_weights = False

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        beside = {**origin_of(row), **{key: row[key] for key in JUDGED if key in row}}
        for item in row["responses"]:
            if not item.get("ratings"):
                continue
            said = {key: item[key] for key in ("model", "author", "author_kind", "flags", "acceptable") if key in item}
            head = {"context": row["prompt"], "response": item["text"], "criteria": list(item["ratings"])}
            others = {**head, **said, **beside}
            columns = {
                name if name not in others else f"rating {name}": value for name, value in item["ratings"].items()
            }
            yield {**head, "criteria": list(columns), **columns, **said, **beside}

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        return Counter({"left_out_without_ratings": sum(not item.get("ratings") for item in row["responses"])})
