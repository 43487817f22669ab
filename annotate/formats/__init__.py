"""Formats of files, one module each: what comes in (IMPORTERS) and what goes out (EXPORTERS), by name."""

from pathlib import Path
from types import ModuleType

from django.utils.translation import gettext as _

from annotate.formats import alpaca, files, hh, hone, parquet, plain, trl
from annotate.formats.export import HoneExporter, RowExporter
from annotate.formats.files import BadFile
from annotate.formats.rows import BadRow

# Each module has NAME, LABEL, KEYS (what it reads of a row), recognises(row), read(path) -> (place, row) and
# parse(row) -> ImportedRow.
IMPORTERS: dict[str, ModuleType] = {module.NAME: module for module in (hone, hh, alpaca, plain)}
EXPORTERS: dict[str, RowExporter] = {
    exporter.name: exporter for exporter in (HoneExporter(), trl.TRLExporter(), parquet.ParquetExporter())
}


def detect(path: Path, *, name: str = "") -> str:
    """The name of the format, by the first row; `name` is the file's own where `path` is an upload's.

    Raises BadFile for an empty file and for one that Hone can't read.
    """
    suffix = Path(name or path.name).suffix.lower()
    first = files.first_character(path)
    if not first:
        raise BadFile(_("%(file)s is empty.") % {"file": path.name})
    if suffix == ".txt" or (first not in "[{" and suffix in plain.SUFFIXES):
        return plain.NAME
    if first not in "[{":
        raise BadFile(_("%(file)s holds neither JSON nor, by its name, plain text (.txt).") % {"file": path.name})
    _place, row = next(files.objects(path), ("", None))
    if row is None:
        raise BadFile(_("%(file)s holds no rows.") % {"file": path.name})
    if isinstance(row, BadRow):
        # Read as Hone's own, so that every broken line is named.
        return hone.NAME
    for name, module in IMPORTERS.items():
        if module.recognises(row):
            return name
    keys = ", ".join(f'"{key[:40]}"' for key in list(row)[:8]) or "none"
    raise BadFile(
        _(
            "%(file)s is in no format that Hone reads: its first row has the keys %(keys)s. "
            'Hone\'s rows have a list of turns as "prompt", Alpaca\'s "instruction" and "output", '
            'HH\'s whole dialogues as "chosen" and "rejected".'
        )
        % {"file": path.name, "keys": keys}
    )
