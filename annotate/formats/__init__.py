"""Formats of files, one module each: what comes in (IMPORTERS) and what goes out (EXPORTERS), by name."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from django.utils.translation import gettext as _

from annotate.formats import dataset_folders, files
from annotate.formats.chat_turns import tool_turns
from annotate.formats.exporters.annotation_tools import ArgillaExporter, LabelStudioExporter
from annotate.formats.exporters.export import HoneExporter, RowExporter
from annotate.formats.exporters.flat_tables import CSVExporter
from annotate.formats.exporters.pair_files import HHExporter, LlamaFactoryExporter, RewardBenchExporter
from annotate.formats.exporters.parquet import ParquetExporter
from annotate.formats.exporters.rated_responses import RatedResponsesExporter
from annotate.formats.exporters.reply_trees import ReplyTreeExporter
from annotate.formats.exporters.trl import KTOExporter, TRLExporter, TRLTextExporter
from annotate.formats.files import BadFile
from annotate.formats.importers import hone, plain
from annotate.formats.importers.dialogues import alpaca, arena, conversations, hh, mt_bench, oasst, stack_exchange
from annotate.formats.importers.evaluation_sets import alpaca_eval, instructgpt, open_instruct, pandalm, rewardbench
from annotate.formats.importers.preference_sets import (
    helpsteer,
    nectar,
    safe_rlhf,
    shp,
    summarize_feedback,
    ultrafeedback,
    webgpt,
)
from annotate.formats.importers.tools import argilla, label_studio, open_webui
from annotate.formats.rows import BadRow, ImportedRow, LeftOut, parsed, shown_key

# Each module has NAME, LABEL, recognises(row) and parse(fields) -> ImportedRow, or a list of these and of LeftOut. The
# first that recognises a file's first row reads it, so those with rarer keys come first. A module with a `read` of its
# own reads the file by it, the others by files.objects.
IMPORTERS: dict[str, ModuleType] = {
    module.NAME: module
    for module in (
        hh,
        pandalm,
        alpaca_eval,
        open_instruct,
        arena,
        ultrafeedback,
        helpsteer,
        shp,
        summarize_feedback,
        nectar,
        webgpt,
        safe_rlhf,
        rewardbench,
        open_webui,
        argilla,
        label_studio,
        oasst,
        mt_bench,
        stack_exchange,
        instructgpt,
        hone,
        conversations,
        alpaca,
        plain,
    )
}
EXPORTERS: dict[str, RowExporter] = {
    exporter.name: exporter
    for exporter in (
        HoneExporter(),
        TRLExporter(),
        TRLTextExporter(),
        KTOExporter(),
        ParquetExporter(),
        CSVExporter(),
        HHExporter(),
        ReplyTreeExporter(),
        LlamaFactoryExporter(),
        RatedResponsesExporter(),
        RewardBenchExporter(),
        ArgillaExporter(),
        LabelStudioExporter(),
    )
}


class UnknownFormat(BadFile):
    """The file holds rows, in no format that Hone knows. row: the first one."""

    def __init__(self, reason: str, row: dict[str, Any]) -> None:
        super().__init__(reason)
        self.row = row


def detect(path: Path, *, name: str = "") -> str:
    """The name of the format, by the first row; `name` is the file's own where `path` is an upload's.

    Of a folder its first data file decides. Raises BadFile for an empty file and for one that Hone can't read.
    """
    if path.is_dir():
        _label, first_file = dataset_folders.members(path)[0]
        return detect(first_file)
    suffix = next((suffix for suffix in reversed(Path(name or path.name).suffixes) if suffix != ".gz"), "").lower()
    first = files.first_character(path)
    if not first:
        raise BadFile(_("%(file)s is empty.") % {"file": path.name})
    is_table = (
        files.is_parquet(path)
        or files.is_arrow(path)
        or files.is_workbook(path)
        or bool(files.delimiter_of(path, name=name))
    )
    if suffix == ".txt" or (first not in "[{" and suffix in plain.SUFFIXES and not is_table):
        return plain.NAME
    if first not in "[{" and not is_table:
        raise BadFile(
            _(
                "%(file)s holds neither JSON nor, by its name, a table (.csv, .tsv, .xlsx, .parquet) "
                "or plain text (.txt)."
            )
            % {"file": path.name}
        )
    _place, row = next(files.objects(path, name=name), ("", None))
    if row is None:
        raise BadFile(_("%(file)s holds no rows.") % {"file": path.name})
    if isinstance(row, BadRow):
        if first == "{" and _is_spread(path):
            raise BadFile(
                _(
                    "%(file)s is one JSON object over many lines. Hone reads a JSON array of rows, or JSON lines: "
                    "an object on each line."
                )
                % {"file": path.name}
            )
        # Read as Hone's own, so that every broken line is named.
        return hone.NAME
    for format, module in IMPORTERS.items():
        if module.recognises(row):
            return format
    keys = ", ".join(f'"{shown_key(key)}"' for key in list(row)[:8]) or "none"
    raise UnknownFormat(
        _(
            "%(file)s is in no format that Hone reads: its first row has the keys %(keys)s. "
            'Hone\'s rows have a "prompt", a text or a list of turns; Alpaca\'s an "instruction"; chats "messages" or '
            '"conversations"; HH\'s whole dialogues as "chosen" and "rejected".'
        )
        % {"file": path.name, "keys": keys},
        row,
    )


def _is_spread(path: Path) -> bool:
    """Whether the first line only opens an object that goes on below, as indented JSON does."""
    found = [line for _place, line in islice(files.lines(path), 2) if isinstance(line, str)]
    if len(found) < 2 or not found[0].endswith(("{", "[", ",")):
        return False
    # A line that begins an object is a row of its own, unless it stands in an array.
    return found[0].endswith("[") or not found[1].lstrip().startswith("{")


def rows_of(
    path: Path,
    format: str,
    *,
    name: str = "",
    keep_tools: bool = False,
    columns: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, list[ImportedRow | LeftOut] | BadRow | LeftOut]]:
    """(place, what it is) of each row of a file, or of each file of a folder, in a format. Raises BadFile.

    keep_tools: turns of tools become text; else the rows that have some are left out. columns: {field of Hone's rows:
    the key or column that holds it}; another key of the field's name is then one of those that aren't kept.
    """
    module = IMPORTERS[format]
    read: Any = getattr(module, "read", files.objects)
    for place, row in _of_folder(read, path) if path.is_dir() else read(path, name=name):
        if isinstance(row, BadRow):
            yield place, row
            continue
        found: list[ImportedRow | LeftOut] | BadRow | LeftOut
        if columns:
            row = renamed(row, columns)
        try:
            with tool_turns(kept=keep_tools):
                found = parsed(module, row)
        except (BadRow, LeftOut) as reason:
            found = reason
        for item in found if isinstance(found, list) else [found]:
            if isinstance(item, BadRow | LeftOut):
                item.values = row
        yield place, found


def _of_folder(read: Any, folder: Path) -> Iterator[tuple[str, Any]]:
    """What is read of each data file of a folder, its name before each place."""
    for label, member in dataset_folders.members(folder):
        for place, row in read(member, name=member.name):
            yield f"{label}, {place}", row


def column_pairs(written: str) -> dict[str, str]:
    """{field: column} of a text such as "prompt=question, response=reply". Raises ValueError."""
    pairs = [part.partition("=") for part in written.split(",") if part.strip()]
    found = {field.strip(): column.strip() for field, _sign, column in pairs}
    if len(found) < len(pairs) or not all(field and column for field, column in found.items()):
        raise ValueError(written)
    return found


def renamed(row: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row with the chosen columns under the names of Hone's fields."""
    taken = set(columns.values())
    others = {f"{key} (column)" if key in columns else key: value for key, value in row.items() if key not in taken}
    return others | {field: row[column] for field, column in columns.items() if column in row}
