"""The card of a snapshot: README.md beside its files, for the person who gets them."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from annotate.data.sharing.statistics import Statistics
from annotate.data.snapshot_aggregation import Aggregation
from annotate.data.snapshot_filters import Filters
from annotate.formats import EXPORTERS
from annotate.models import Snapshot

KINDS = {
    "rankings": (
        "Each record is one judgment of one labeler: the responses of a task in the order they were made, each "
        "with its rank (1 is best, equal ranks are tied, null was not ranked). `acceptable` is false for one that the "
        "labeler found unacceptable. Of a judgment given again the latest revision counts. A response that a labeler "
        "bettered is a record of two, the edited text above the original (`edit-...`); a choice among live responses "
        "in a chat has the chosen one above the others, which nobody ordered among themselves. Where a reviewer "
        "adjudicated, the task is one record with `adjudicated`, the reviewer's order, in place of the labelers'. What "
        "a manager left out is not there."
    ),
    "ratings": (
        "Each record is one labeler's rating of one response by the project's rubric, in the form of a ranking whose "
        "only response has no rank."
    ),
    "demonstrations": (
        "Each record is a prompt with an ideal response to it. Withdrawn ones are left out. A chat that a labeler "
        "led is a record for each of the assistant's turns."
    ),
    "prompts": "Each record is a chat whose last turn is the user's.",
}
SPLIT = (
    "by a hash of the prompt's content, 80 in 100 train, 10 validation, 10 test; a chat is on the side of the prompt "
    "that it began as, its `opening`. All responses to a prompt are on one side, in every snapshot of every project."
)
LABELERS = (
    "are pseudonyms, the same in every export of this project and unrelated to other projects'. Comments are left out "
    "unless they were asked for, since they may tell who wrote them."
)

AGGREGATIONS = {
    "raw": "none, each record is a judgment as it was given.",
    "weighted": (
        "each judgment has the weight of its labeler's reliability, 2 eta - 1 of Crowd-BT and at least 0, times the "
        "weight that it came with; the mean over all records is 1. manifest.json names the reliabilities."
    ),
    "consensus": (
        "each record is the consensus of a task's judgments ({method}) in place of the judgments; its weight is its "
        "`confidence`, the probability that one more labeler agrees on a pair, scaled to the mean 1. An edit weighs as "
        "a certain consensus."
    ),
}


def card(
    snapshot: Snapshot,
    *,
    files: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, int],
    aggregation: Aggregation,
    statistics: Statistics,
    redactions: Counter[str] | None,
    agreement: tuple[float, int] | None,
) -> str:
    """Markdown. It holds no time and no number of the snapshot, so that equal data gives equal bytes."""
    project = snapshot.project
    lines = [
        f"# {project.name}: {snapshot.kind}",
        "",
        f"{counts['records']:,} records of the project `{project.slug}`, written by Hone.",
        "",
        KINDS[snapshot.kind],
        "",
        f"Format: {EXPORTERS[snapshot.format].label}. {EXPORTERS[snapshot.format].description}",
        "",
        "| file | rows | bytes | SHA-256 |",
        "| --- | ---: | ---: | --- |",
        *(f"| {name} | {file['rows']:,} | {file['bytes']:,} | `{file['sha256']}` |" for name, file in files.items()),
        "",
        "## How it was made",
        "",
        f"- **Split**: {SPLIT}",
        f"- **Labelers** {LABELERS}",
        f"- **Filters**: {_filters(snapshot.filters)}.",
    ]
    if snapshot.kind == Snapshot.Kind.RANKINGS:
        left_out = counts.get("left_out_ties", 0)
        policy = (
            "ties are kept as equal ranks"
            if snapshot.tie_policy == Snapshot.TiePolicy.KEEP
            else f"judgments that prefer nothing were left out ({left_out:,}); ties in the others are equal ranks"
        )
        lines.append(f"- **Aggregation**: {AGGREGATIONS[aggregation.mode].format(method=aggregation.method)}")
        lines.append(f"- **Ties**: {policy}.")
        if snapshot.format == "trl":
            lines[-1] = f"- **Ties**: {_ties_in_pairs(counts)}"
    if by_ai := counts.get("records_by_ai", 0):
        lines.append(
            f"- **AI feedback**: {by_ai:,} records were judged by a model; `judge` is its name, or `ai`. It is "
            "`human` in the others."
        )
    if snapshot.format not in ("hone", "trl"):
        unplaced = [
            f"{count:,} {_in_words(name)}" for name, count in sorted(counts.items()) if _is_loss(name) and count
        ]
        lines += [f"- **Without a place in this format**: {', '.join(unplaced)}."] if unplaced else []
    if redactions is not None:
        found = ", ".join(f"{name} {count:,}" for name, count in sorted(redactions.items())) or "nothing was found"
        lines.append(f"- **Personal data** in texts were replaced by rules ({found}), which don't know people's names.")
    lines += ["", "## What is in it", "", *statistics.lines()]
    if agreement is not None:
        share, tasks = agreement
        lines.append(f"- **Agreement**: two labelers agree on {share:.1%} of pairs (mean over {tasks:,} tasks).")
    lines += [*_instructions(snapshot), "", "## Known biases", ""]
    lines += [
        *statistics.biases(),
        "- Labelers are a small group, and their taste is not everybody's.",
    ]
    lines += [
        "",
        "## Licence",
        "",
        Filters.checked(snapshot.filters).licence or "Not stated. Ask whoever gave you this.",
    ]
    return "\n".join([*lines, ""])


def _is_loss(name: str) -> bool:
    return name.startswith("left_out_") and name != "left_out_ties"


def _in_words(name: str) -> str:
    return name.removeprefix("left_out_").replace("_", " ")


def _instructions(snapshot: Snapshot) -> list[str]:
    """The versions of what labelers were asked, with their hashes."""
    project = snapshot.project
    guidelines = [
        f"{version} (`{hashlib.sha256(text.encode()).hexdigest()[:12]}`)"
        for version, text in project.guidelines_versions.order_by("version").values_list("version", "text")
    ]
    rubrics = [str(version) for version in project.rubrics.order_by("version").values_list("version", flat=True)]
    named = (("Guidelines", guidelines), ("Rubrics", rubrics))
    return [f"- **{title}**, versions: {', '.join(versions[-20:])}" for title, versions in named if versions]


def _ties_in_pairs(counts: Mapping[str, int]) -> str:
    """Content of judgments that pairs can't hold, and how much of it there was."""
    tied, unranked = counts.get("left_out_tied_pairs", 0), counts.get("left_out_unranked_responses", 0)
    whole = counts.get("left_out_ties", 0)
    return (
        f"pairs know none: {tied:,} pairs of tied responses and {unranked:,} responses that were not ranked were left "
        f"out, and {whole:,} judgments that prefer nothing. Margins, weights, ratings and flags are left out too."
    )


def _filters(filters: Mapping[str, Any]) -> str:
    named = [
        f"{name} {', '.join(value) if isinstance(value, list) else value}"
        for name, value in sorted(filters.items())
        if value and name not in ("licence", "redact")
    ]
    return "; ".join(named) or "none, everything there was"
