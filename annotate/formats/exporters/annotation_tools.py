"""Records of annotation tools: Argilla's and Label Studio's, with the judgments as submitted answers.

A person who opens them there sees what the labelers did, and what comes back is the same data: properties of the prompt
and the judgment travel as metadata.
"""

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.exporters.export import RowExporter

BESIDE = ("prompt", "opening", "responses", "response")


def _properties(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in BESIDE}


class ArgillaExporter(RowExporter):
    """Each row a record: `prompt` is a chat field, `response_1`, ... are text fields."""

    name, label = "argilla", gettext_noop("Argilla records")
    description = (
        "UTF-8 JSON lines, an Argilla 2 record each: orders under the question `ranking`, ratings under the criterion "
        "and the number of the response, ideal responses under `response`. Flags and notes are left out."
    )

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        who = {"user_id": row.get("labeler") or row.get("author") or "", "status": "submitted"}
        metadata = {key: value for key, value in _properties(row).items() if key not in ("labeler", "author")}
        fields: dict[str, Any] = {"prompt": row["prompt"]}
        if "opening" in row:
            fields["opening"] = row["opening"]
        submitted: dict[str, list[dict[str, Any]]] = {}
        if "response" in row:
            submitted["response"] = [{"value": row["response"], **who}]
        responses = row.get("responses", [])
        names = ["response"] if kind == "ratings" else [f"response_{at}" for at in range(1, len(responses) + 1)]
        for at, (name, item) in enumerate(zip(names, responses, strict=True), start=1):
            fields[name] = item["text"]
            if "model" in item:
                metadata[f"{name}_model"] = item["model"]
            for criterion, value in item.get("ratings", {}).items():
                question = criterion if kind == "ratings" else f"{criterion}_{at}"
                submitted[question] = [{"value": value, **who}]
        order = [
            {"value": name, "rank": item["rank"]}
            for name, item in zip(names, responses, strict=True)
            if item["rank"] is not None
        ]
        if order:
            submitted["ranking"] = [{"value": order, **who}]
        yield {
            "id": row["id"],
            "status": "completed" if submitted else "pending",
            "fields": fields,
            "metadata": metadata,
            "responses": submitted,
            "suggestions": {},
        }


class LabelStudioExporter(RowExporter):
    """Each row a task with one annotation: of a Pairwise tag for a strict pair, of a Ranker tag for other orders."""

    name, label = "label_studio", gettext_noop("Label Studio tasks")
    description = (
        "UTF-8 JSON lines, a Label Studio task with its annotation each. Pairs are of a Pairwise tag; other orders of "
        "a Ranker tag with a bucket for each tier; ratings of Rating tags. Flags and notes are left out."
    )

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        data: dict[str, Any] = {"prompt": row["prompt"], **_properties(row)}
        if "opening" in row:
            data["opening"] = row["opening"]
        results: list[dict[str, Any]] = []
        responses = row.get("responses", [])
        if "response" in row:
            results.append(_result("textarea", "response", {"text": [row["response"]]}))
        elif kind == "ratings":
            (item,) = responses
            data |= {"response": item["text"], **({"model": item["model"]} if "model" in item else {})}
            results += _ratings(item, "")
        elif kind == "rankings":
            ranks = [item["rank"] for item in responses]
            if len(ranks) == 2 and None not in ranks and ranks[0] != ranks[1]:
                keys = ["answer1", "answer2"]
                data |= {key: item["text"] for key, item in zip(keys, responses, strict=True)}
                data |= {
                    f"{key}_model": item["model"] for key, item in zip(keys, responses, strict=True) if "model" in item
                }
                selected = "left" if ranks[0] < ranks[1] else "right"
                results.append(_result("pairwise", "comparison", {"selected": selected}))
            else:
                keys = [f"response_{at}" for at in range(1, len(responses) + 1)]
                data["items"] = [
                    {
                        "id": key,
                        "title": key,
                        "body": item["text"],
                        **({"model": item["model"]} if "model" in item else {}),
                    }
                    for key, item in zip(keys, responses, strict=True)
                ]
                # With one bucket alone the order within it would be the order.
                tiers: dict[str, list[str]] = {str(rank): [] for rank in sorted({1, 2, *filter(None, ranks)})}
                for key, rank in zip(keys, ranks, strict=True):
                    if rank is not None:
                        tiers[str(rank)].append(key)
                results.append(_result("ranker", "order", {"ranker": tiers}))
            for key, item in zip(keys, responses, strict=True):
                results += _ratings(item, f"{key}:")
        annotation = {"result": results, "was_cancelled": False}
        if "seconds" in row:
            annotation["lead_time"] = row["seconds"]
        yield {"data": data, "annotations": [annotation] if results else []}


def _result(kind: str, name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "from_name": name, "to_name": "prompt", "value": value}


def _ratings(item: dict[str, Any], before: str) -> list[dict[str, Any]]:
    given = item.get("ratings", {}).items()
    return [_result("rating", f"{before}{criterion}", {"rating": value}) for criterion, value in given]
