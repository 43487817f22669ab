"""Rows as tables of others' libraries, which are imported when they are asked for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets
    import pandas

SPLIT = re.compile(r".+\.(train|validation|test)\.(jsonl|json|csv|parquet)")
BUILDERS = {"jsonl": "json", "json": "json", "csv": "csv", "parquet": "parquet"}


def to_pandas(rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """A row of the table for each; times as such, in UTC."""
    import pandas

    found = pandas.DataFrame(list(rows))
    for name in found.columns:
        if name.endswith("_at"):
            found[name] = pandas.to_datetime(found[name], utc=True)
    return found


def to_dataset(files: Sequence[Path]) -> "datasets.DatasetDict":
    """The files of a downloaded snapshot that hold rows, a split each. Raises ValueError where there is none."""
    import datasets

    splits = {match[1]: path for path in files if (match := SPLIT.fullmatch(path.name)) and path.stat().st_size}
    if not splits:
        raise ValueError("the snapshot has no rows in a form that datasets reads")
    builder = BUILDERS[next(iter(splits.values())).suffix[1:]]
    # In memory: the files are gone when the caller's folder is.
    found: datasets.DatasetDict = datasets.load_dataset(
        builder, data_files={split: str(path) for split, path in splits.items()}, keep_in_memory=True
    )
    return found
