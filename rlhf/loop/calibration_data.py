"""Responses that calibrate a reward model's scores: demonstrations have mean 0, samples of the reference deviation 1.

They are of train prompts, and written once: a resumed run has the same files.
"""

from pathlib import Path
from typing import Any

from django.db.models import QuerySet

from annotate.data.snapshot_rows import demonstration_row
from annotate.models import Demonstration, Project, Prompt, Response
from rlhf.loop import prompts
from rlhf.models import ModelVersion

FEWEST = 8
"""With fewer responses the mean and deviation are unreliable, and training responses are used instead."""
MOST = 1024


def files(project: Project, *, reference: ModelVersion, folder: Path) -> dict[str, Path]:
    """{flag: file} of the sets that are large enough, written into the folder unless they exist."""
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


def counts(project: Project, *, reference: ModelVersion) -> dict[str, int]:
    """How many responses of each set there are, at most MOST."""
    return {
        "demonstrations": _written_demonstrations(project).count(),
        "samples": _sampled_responses(project, reference).count(),
    }


def _written_demonstrations(project: Project) -> QuerySet[Demonstration]:
    return (
        Demonstration.for_training(project)
        .filter(prompt__split=Prompt.Split.TRAIN)
        .select_related("prompt", "response__author")
        .order_by("-pk")[:MOST]
    )


def _sampled_responses(project: Project, reference: ModelVersion) -> QuerySet[Response]:
    if reference.author is None:
        return Response.objects.none()
    return (
        Response.objects.filter(
            prompt__project=project, prompt__split=Prompt.Split.TRAIN, author=reference.author, edited_from=None
        )
        .select_related("prompt")
        .order_by("-pk")[:MOST]
    )


def _demonstrations(project: Project) -> list[dict[str, Any]]:
    written = _written_demonstrations(project)
    return [demonstration_row(item, project) for item in written]


def _samples(project: Project, reference: ModelVersion) -> list[dict[str, Any]]:
    """Samples of the reference, one response per row."""
    return [
        {"id": f"response-{item.pk}", "prompt": item.prompt.messages, "responses": [{"text": item.text}]}
        for item in _sampled_responses(project, reference)
    ]
