"""The YAML header of a data set's card on a Hub: what its viewer and `datasets.load_dataset` go by.

It names the files of each split, so that what else is in the repository is no data; the languages by their codes; the
size; the licence by its name on the Hub, or as another one by the words of the snapshot; and the snapshot's SHA-256.
"""

import re
from collections.abc import Iterator
from typing import Any

from annotate.data import snapshots
from annotate.data.snapshot_filters import SPLITS, Filters
from annotate.models import Prompt, Snapshot

SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
)
LICENCES = {
    "afl-3.0",
    "agpl-3.0",
    "apache-2.0",
    "artistic-2.0",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsl-1.0",
    "c-uda",
    "cc",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nd-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "cdla-sharing-1.0",
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
    "gfdl",
    "gpl",
    "gpl-2.0",
    "gpl-3.0",
    "lgpl",
    "lgpl-2.1",
    "lgpl-3.0",
    "mit",
    "mpl-2.0",
    "odbl",
    "odc-by",
    "pddl",
    "unlicense",
    "wtfpl",
    "zlib",
}
"""As a Hub names them."""
LANGUAGE = re.compile(r"[a-z]{2,3}")
TASKS = {
    Snapshot.Kind.RANKINGS: "reinforcement-learning",
    Snapshot.Kind.RATINGS: "text-classification",
    Snapshot.Kind.DEMONSTRATIONS: "text-generation",
    Snapshot.Kind.PROMPTS: "text-generation",
}


def header(snapshot: Snapshot) -> str:
    """From --- to ---. The same for the same snapshot."""
    from huggingface_hub import DatasetCardData

    licence: dict[str, Any] = _licence(snapshot)
    card = DatasetCardData(
        pretty_name=f"{snapshot.project.name}: {snapshot.kind}",
        language=list(_languages(snapshot)) or None,
        **licence,
        size_categories=[next((name for most, name in SIZES if snapshot.rows < most), "100M<n<1B")],
        task_categories=[TASKS[Snapshot.Kind(snapshot.kind)]],
        tags=["hone", snapshot.kind, snapshot.format],
        configs=[{"config_name": "default", "data_files": _files(snapshot)}],
        snapshot_sha256=snapshot.sha256,
    )
    return f"---\n{card.to_yaml()}\n---\n"


def _files(snapshot: Snapshot) -> list[dict[str, str]]:
    """The file of each split that has rows: one without any has no columns to be read by."""
    names = [(split, snapshots.file_name(snapshot, split)) for split in SPLITS]
    return [{"split": split, "path": name} for split, name in names if snapshot.files.get(name, {}).get("rows")]


def _languages(snapshot: Snapshot) -> Iterator[str]:
    """Primary languages of the project's prompts, most first, of those that the snapshot was asked for."""
    asked = Filters.checked(snapshot.filters).languages
    tags = asked or _tags_of_prompts(snapshot)
    seen = set()
    for tag in tags:
        primary = tag.lower().replace("_", "-").partition("-")[0]
        if LANGUAGE.fullmatch(primary) and primary not in ("und", "mul", "zxx") and primary not in seen:
            seen.add(primary)
            yield primary


def _tags_of_prompts(snapshot: Snapshot) -> list[str]:
    found = Prompt.objects.filter(project=snapshot.project).exclude(language="").order_by("language")
    return [*found.values_list("language", flat=True).distinct()[:100]]


def _licence(snapshot: Snapshot) -> dict[str, str]:
    said = Filters.checked(snapshot.filters).licence.strip()
    name = said.lower().replace(" ", "-")
    if not said:
        return {}
    return {"license": name} if name in LICENCES else {"license": "other", "license_name": said}
