"""Parquet: the contract's rows as nested columns, for tables of data and notebooks.

pyarrow is imported where a file is written: a web process shows the list of formats and writes none, and would hold
30 MB for it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from annotate.formats.exporters.export import RowExporter, RowWriter

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_GROUP = 2_000
WRITTEN = ("response", "author", "author_kind", "model", "finish_reason")


@functools.cache
def schemas() -> dict[str, pa.Schema]:
    """The columns of each kind of rows, in their order."""
    import pyarrow as pa

    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    responses = pa.list_(
        pa.struct(
            [
                ("text", pa.string()),
                ("rank", pa.int32()),
                ("model", pa.string()),
                ("author", pa.string()),
                ("author_kind", pa.string()),
                ("acceptable", pa.bool_()),
                ("score", pa.float64()),
                # A list of pairs and no map: several readers, `datasets` among them, know none.
                ("ratings", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))),
                ("flags", pa.list_(pa.string())),
                ("note", pa.string()),
                ("finish_reason", pa.string()),
            ]
        )
    )
    prompt = [
        *((name, pa.string()) for name in ("lang", "source", "kind", "use_case")),
        ("sensitive", pa.bool_()),
        ("split", pa.string()),
        ("opening", turns),
    ]
    of_prompt = [("prompt_id", pa.string()), *prompt]
    head = [("id", pa.string()), ("source_id", pa.string()), ("prompt", turns)]
    judged = pa.schema(
        [
            *head,
            ("responses", responses),
            *((name, pa.string()) for name in ("task", "labeler", "judge")),
            ("margin", pa.int32()),
            ("weight", pa.float64()),
            ("scale", pa.string()),
            ("seconds", pa.float64()),
            ("timestamp", pa.string()),
            ("comment", pa.string()),
            ("rubric", pa.int32()),
            ("revision", pa.int32()),
            ("judgments", pa.int32()),
            ("confidence", pa.float64()),
            *of_prompt,
        ]
    )
    return {
        "rankings": judged,
        "ratings": judged,
        "demonstrations": pa.schema([*head, *((name, pa.string()) for name in WRITTEN), *of_prompt]),
        "prompts": pa.schema([*head, *prompt]),
    }


class ParquetWriter:
    """Writes rows in groups, so that a file of any size takes little memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.schema = schema
        self.writer = pq.ParquetWriter(path, schema, compression="zstd")
        self.pending: list[dict[str, Any]] = []

    def write(self, row: dict[str, Any]) -> None:
        self.pending.append(row)
        if len(self.pending) >= ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self.pending:
            self.writer.write_table(pa.Table.from_pylist(self.pending, schema=self.schema))
            self.pending = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self.writer.close()


class ParquetExporter(RowExporter):
    name, label, suffix = "parquet", "Parquet", ".parquet"
    description = "Parquet with nested columns, compressed with zstd."

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        responses = [
            {**response, "ratings": [{"name": name, "value": value} for name, value in response["ratings"].items()]}
            if "ratings" in response
            else response
            for response in row.get("responses", [])
        ]
        return ({**row, "responses": responses} if responses else row,)

    def open(self, path: Path, *, kind: str) -> RowWriter:
        return ParquetWriter(path, schemas()[kind])

    def join(self, parts: Iterable[Path], out: Path) -> None:
        import pyarrow.parquet as pq

        writer = None
        for part in parts:
            with pq.ParquetFile(part) as file:
                writer = writer or pq.ParquetWriter(out, file.schema_arrow, compression="zstd")
                for batch in file.iter_batches():
                    writer.write_batch(batch)
        if writer is not None:
            writer.close()
