"""Formats of files, one module each: what comes in (IMPORTERS) and what goes out (EXPORTERS), by name."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from django.utils.translation import gettext as _

from annotate.formats import files
from annotate.formats.exporters import parquet, trl
from annotate.formats.exporters.export import HoneExporter, RowExporter
from annotate.formats.files import BadFile
from annotate.formats.importers import (
    alpaca,
    alpaca_eval,
    conversations,
    hh,
    hone,
    label_studio,
    mt_bench,
    oasst,
    open_instruct,
    pandalm,
    plain,
    stack_exchange,
    truthful_qa,
)
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
        label_studio,
        oasst,
        mt_bench,
        stack_exchange,
        truthful_qa,
        hone,
        conversations,
        alpaca,
        plain,
    )
}
EXPORTERS: dict[str, RowExporter] = {
    exporter.name: exporter for exporter in (HoneExporter(), trl.TRLExporter(), parquet.ParquetExporter())
}


def detect(path: Path, *, name: str = "") -> str:
    """The name of the format, by the first row; `name` is the file's own where `path` is an upload's.

    Raises BadFile for an empty file and for one that Hone can't read.
    """
    suffix = next((suffix for suffix in reversed(Path(name or path.name).suffixes) if suffix != ".gz"), "").lower()
    first = files.first_character(path)
    if not first:
        raise BadFile(_("%(file)s is empty.") % {"file": path.name})
    is_table = files.is_parquet(path) or bool(files.delimiter_of(path, name=name))
    if suffix == ".txt" or (first not in "[{" and suffix in plain.SUFFIXES and not is_table):
        return plain.NAME
    if first not in "[{" and not is_table:
        raise BadFile(
            _("%(file)s holds neither JSON nor, by its name, a table (.csv, .tsv, .parquet) or plain text (.txt).")
            % {"file": path.name}
        )
    _place, row = next(files.objects(path, name=name), ("", None))
    if row is None:
        raise BadFile(_("%(file)s holds no rows.") % {"file": path.name})
    if isinstance(row, BadRow):
        # Read as Hone's own, so that every broken line is named.
        return hone.NAME
    for format, module in IMPORTERS.items():
        if module.recognises(row):
            return format
    keys = ", ".join(f'"{shown_key(key)}"' for key in list(row)[:8]) or "none"
    raise BadFile(
        _(
            "%(file)s is in no format that Hone reads: its first row has the keys %(keys)s. "
            'Hone\'s rows have a "prompt", a text or a list of turns; Alpaca\'s an "instruction"; chats "messages" or '
            '"conversations"; HH\'s whole dialogues as "chosen" and "rejected".'
        )
        % {"file": path.name, "keys": keys}
    )


def rows_of(
    path: Path, format: str, *, name: str = ""
) -> Iterator[tuple[str, list[ImportedRow | LeftOut] | BadRow | LeftOut]]:
    """(place, what it is) of each row of a file in a format. Raises BadFile."""
    module = IMPORTERS[format]
    read: Any = getattr(module, "read", files.objects)
    for place, row in read(path, name=name):
        if isinstance(row, BadRow):
            yield place, row
            continue
        try:
            yield place, parsed(module, row)
        except (BadRow, LeftOut) as reason:
            yield place, reason
