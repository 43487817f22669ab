"""Parquet: the contract's rows as nested columns, for tables of data and notebooks."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from annotate.formats.exporters.export import RowExporter, RowWriter

ROWS_A_GROUP = 2_000
TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
RANKED = pa.list_(
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
PROMPT = [
    *((name, pa.string()) for name in ("lang", "source", "kind", "use_case")),
    ("sensitive", pa.bool_()),
    ("split", pa.string()),
    ("opening", TURNS),
]
OF_PROMPT = [("prompt_id", pa.string()), *PROMPT]
HEAD = [("id", pa.string()), ("source_id", pa.string()), ("prompt", TURNS)]
JUDGED = pa.schema(
    [
        *HEAD,
        ("responses", RANKED),
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
        *OF_PROMPT,
    ]
)
WRITTEN = ("response", "author", "author_kind", "model", "finish_reason")
SCHEMAS = {
    "rankings": JUDGED,
    "ratings": JUDGED,
    "demonstrations": pa.schema([*HEAD, *((name, pa.string()) for name in WRITTEN), *OF_PROMPT]),
    "prompts": pa.schema([*HEAD, *PROMPT]),
}


class ParquetWriter:
    """Writes rows in groups, so that a file of any size takes little memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.writer = pq.ParquetWriter(path, schema, compression="zstd")
        self.pending: list[dict[str, Any]] = []

    def write(self, row: dict[str, Any]) -> None:
        self.pending.append(row)
        if len(self.pending) >= ROWS_A_GROUP:
            self._flush()

    def _flush(self) -> None:
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
        return ParquetWriter(path, SCHEMAS[kind])

    def join(self, parts: Iterable[Path], out: Path) -> None:
        writer = None
        for part in parts:
            with pq.ParquetFile(part) as file:
                writer = writer or pq.ParquetWriter(out, file.schema_arrow, compression="zstd")
                for batch in file.iter_batches():
                    writer.write_batch(batch)
        if writer is not None:
            writer.close()
