"""A report of a reward model as a person reads it on a terminal: Markdown, aligned to be read as text too."""

from collections.abc import Mapping, Sequence
from typing import Any

from models_core.commands.output.markdown_tables import printable, shown, table

KINDS = {
    "section": "Section of RewardBench",
    "subset": "Subset",
    "language": "Language",
    "source": "Source",
    "judge": "Judge",
    "labeler": "Labeler",
    "policy": "Written by",
    "margin": "Labeled margin",
    "distance": "Ranks apart",
    "confidence": "Difference of logits",
    "disagreement": "Disagreement of heads",
}
"""Kinds of groups by the names that people know them by."""
SHORTEST_PREVIEW = 160


def markdown(report: Mapping[str, Any]) -> str:
    """The verdict, the figures, and a table for each part of the report."""
    verdict = report["verdict"]
    lines = [printable(verdict["sentence"]), *(f"- {printable(item['sentence'])}" for item in verdict["findings"])]
    for part in (_figures, _groups, _reliability, _labelers, _examples):
        lines += part(report) if report["pairs"] else []
    return "\n".join(lines)


def _figures(report: Mapping[str, Any]) -> list[str]:
    length, ordering, calibration = report["length"], report["ordering"], report["calibration"]
    rows = [
        ["held-out pairs ordered as judged", *_range(report, "accuracy", "accuracy_low", "accuracy_high")],
        ["the longer response wins", *_range(length["longer_wins"], "accuracy")],
        ["labelers agree with each other", *_range(report["labelers"]["agreement"], "share")],
        ["Kendall's tau-b", *_range(ordering["tau_b"], "mean")],
        ["top-1", *_range(ordering["top1"], "share")],
        ["top-1, picked blindly", shown(ordering["top1_of_chance"]), ""],
        ["expected calibration error", shown(calibration["ece"]), f"{shown(calibration['ece_of_chance'])} by chance"],
        ["temperature that would calibrate it", shown(calibration["temperature"]), ""],
        ["correlation of score and length", shown(length["correlation"]), ""],
        ["the same within a prompt", shown(length["correlation_within_prompt"]), ""],
        ["it picks the longer response", *_range(length["model_prefers_longer"], "share")],
        ["people pick the longer response", *_range(length["people_prefer_longer"], "share")],
    ]
    if subsets := report.get("subsets"):
        rows.append([f"mean over {subsets['count']} subsets", shown(subsets["mean"]), ""])
        if subsets["score"] is not None:
            rows.append(["RewardBench, mean of its sections", shown(subsets["score"]), ""])
    if newest := report["newest"]:
        rows.append(["the model before, on what is new to it", *_range(newest, "accuracy")])
        rows.append(["the model before, when it was made", shown(newest["before"]), ""])
    counts = ", ".join(f"{report[name]} {name}" for name in ("judgments", "prompts", "pairs"))
    return ["", f"Held out: {counts}.", "", *table(["measure", "value", "95% interval"], rows)]


def _groups(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind, rows in report["by"].items():
        head = [KINDS[kind], "accuracy", "95% interval", "pairs", "prompts", ""]
        cells = [
            [
                _name(row),
                *_range(row, "accuracy"),
                str(row["pairs"]),
                str(row["prompts"]),
                "few" if row["small"] else "",
            ]
            for row in rows
        ]
        lines += ["", *table(head, cells)]
    return lines


def _reliability(report: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            f"{row['from']:.2f}–{row['to']:.2f}",
            shown(row["confidence"]),
            *_range(row, "right"),
            str(row["pairs"]),
        ]
        for row in report["calibration"]["bins"]
    ]
    return ["", *table(["confidence", "mean", "right", "95% interval", "pairs"], rows)]


def _labelers(report: Mapping[str, Any]) -> list[str]:
    each = report["labelers"]["each"]
    if not each:
        return []
    rows = [
        [
            shown(row["name"]),
            str(row["judgments"]),
            *_range(row["model"], "accuracy"),
            *_range(row["others"], "share"),
        ]
        for row in each
    ]
    head = ["labeler", "judgments", "the model agrees", "95% interval", "other labelers agree", "95% interval"]
    return ["", *table(head, rows)]


def _examples(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for title, name in (("Surest mistakes", "mistakes"), ("Right, drawn at random", "right")):
        if found := report["examples"][name]:
            lines += ["", f"## {title}"]
        for example in found:
            said = ", ".join(filter(None, (voter["labeler"] or voter["judge"] for voter in example["said_by"])))
            by = f" by {_preview(said)}" if said else ""
            lines += ["", f"- {_preview(example['prompt'][-1]['text'])}"]
            for who, response in ((f"preferred{by}", example["preferred"]), ("other", example["other"])):
                lines.append(f"  - {who} ({response['score']:+.2f}): {_preview(response['text'])}")
    return lines


def _name(row: Mapping[str, Any]) -> str:
    if row.get("others"):
        return f"({row['others']} others)"
    return shown(row["name"]) if row["name"] is not None else "(not said)"


def _range(part: Mapping[str, Any], name: str, low: str = "low", high: str = "high") -> Sequence[str]:
    if part[name] is None:
        return "", ""
    return shown(part[name]), f"{part[low]:.3f} to {part[high]:.3f}"


def _preview(text: str) -> str:
    line = " ".join(printable(text).split())
    return line if len(line) <= SHORTEST_PREVIEW else f"{line[:SHORTEST_PREVIEW]} …"
