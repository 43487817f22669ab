"""Answers that put a reward model's scores on a scale: people's ideal ones at 0, the reference's with deviation 1.

They are of train prompts, as everything is that a model learns from, and read once: a resumed run has the same files.
"""

from pathlib import Path
from typing import Any

from annotate.data.snapshot_rows import demonstration_row
from annotate.models import Demonstration, Project, Prompt, Response
from rlhf.loop import prompts
from rlhf.models import ModelVersion

FEWEST = 8
"""Fewer answers than this say little of a mean or a deviation; answers that were learned from stand in for them."""
MOST = 1024


def files(project: Project, *, reference: ModelVersion, folder: Path) -> dict[str, Path]:
    """{flag: file} of those there are enough of, written into the folder unless they are there."""
    rows_of = {"--demonstrations": lambda: _demonstrations(project), "--samples": lambda: _samples(project, reference)}
    found = {}
    for flag, read in rows_of.items():
        path = folder / f"{flag.removeprefix('--')}.jsonl"
        if not path.exists():
            rows = read()
            prompts.write(rows if len(rows) >= FEWEST else [], path)
        if path.stat().st_size:
            found[flag] = path
    return found


def _demonstrations(project: Project) -> list[dict[str, Any]]:
    written = (
        Demonstration.objects.filter(prompt__project=project, prompt__split=Prompt.Split.TRAIN, withdrawn_at=None)
        .select_related("prompt", "response__author")
        .order_by("-pk")[:MOST]
    )
    return [demonstration_row(item, project) for item in written]


def _samples(project: Project, reference: ModelVersion) -> list[dict[str, Any]]:
    """What the reference wrote itself, an answer a row."""
    if reference.author is None:
        return []
    written = (
        Response.objects.filter(
            prompt__project=project, prompt__split=Prompt.Split.TRAIN, author=reference.author, edited_from=None
        )
        .select_related("prompt")
        .order_by("-pk")[:MOST]
    )
    return [
        {"id": f"response-{item.pk}", "prompt": item.prompt.messages, "responses": [{"text": item.text}]}
        for item in written
    ]
