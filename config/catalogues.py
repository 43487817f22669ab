"""The catalogues of messages in other languages: `python -m config.catalogues` compiles them for Django to read.

`python -m config.catalogues update` first brings locale/*/LC_MESSAGES/*.po up to what the source says now: new messages
come in untranslated, and obsolete ones go. Babel does the work, so that a machine needs no gettext.
"""

import argparse
import dataclasses
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract, extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

from models_core.contract.reports import verdict_messages
from models_core.contract.settings import STAGES
from models_core.contract.settings.presets import PRESETS
from models_core.contract.settings.subjects import SUBJECTS

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "locale"
LANGUAGES = ("zh_Hans",)
DOMAINS = ("django", "djangojs")
PACKAGES = ("annotate", "config", "rlhf")
KEYWORDS = DEFAULT_KEYWORDS | {
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
}


def source_messages(domain: str) -> Catalog:
    """The messages in the source of a domain, untranslated: of Python and templates, or of scripts."""
    catalog = Catalog(project="Hone", charset="utf-8")
    if domain == "djangojs":
        for path in sorted((ROOT / "static" / "hone").rglob("*.js")):
            _add(catalog, "javascript", path)
        return catalog
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                _add(catalog, "python", path)
    for path in sorted((ROOT / "templates").rglob("*.html")):
        _add(catalog, extract_template, path)
    for text in [*_setting_messages(), *verdict_messages.SENTENCES.values()]:
        catalog.add(text)
    return catalog


def catalogue_path(language: str, domain: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / f"{domain}.po"


def read(language: str, domain: str) -> Catalog:
    with catalogue_path(language, domain).open("rb") as file:
        return read_po(file, locale=language, domain=domain)


def update() -> int:
    """Bring the catalogues up to the source; what is untranslated is left empty. Returns how many messages that are."""
    untranslated = 0
    for language in LANGUAGES:
        for domain in DOMAINS:
            path = catalogue_path(language, domain)
            catalog = read(language, domain) if path.exists() else Catalog(locale=language, domain=domain)
            catalog.update(source_messages(domain), no_fuzzy_matching=True)
            catalog.obsolete.clear()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_po_bytes(catalog))
            untranslated += sum(1 for message in catalog if message.id and not _is_translated(message))
    return untranslated


def compile_all(*, only_stale: bool = False) -> None:
    """Write a .mo beside each .po. Several processes may do so at once: a file is replaced as a whole."""
    for path in sorted(LOCALE.glob("*/LC_MESSAGES/*.po")):
        target = path.with_suffix(".mo")
        if only_stale and target.exists() and target.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            continue
        with path.open("rb") as file:
            catalog = read_po(file, locale=path.parts[-3], domain=path.stem)
        partial = target.with_suffix(f".{os.getpid()}")
        with partial.open("wb") as file:
            write_mo(file, catalog)
        partial.replace(target)


def extract_template(
    file: BinaryIO, keywords: Any, comment_tags: Any, options: Any
) -> Iterator[tuple[int, Any, Any, Any]]:
    """Babel's way into a Django template, by way of Django's own reading of it.

    Django turns translation tags into calls of gettext and everything else into X. Without the indentation, which means
    nothing any more, that is Python to a tokenizer.
    """
    calls = templatize(file.read().decode("utf-8"))
    flat = "\n".join(line.strip() for line in calls.split("\n"))
    yield from extract_python(io.BytesIO(flat.encode("utf-8")), keywords, comment_tags, {"encoding": "utf-8"})


def _po_bytes(catalog: Catalog) -> bytes:
    """As the text of a .po file, in alphabetical order, without dates and places: they would change all the time."""
    buffer = io.BytesIO()
    write_po(buffer, catalog, width=120, no_location=True, omit_header=True, sort_output=True)
    header = ["Language", "Plural-Forms", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]
    lines = [f'"{name}: {value}\\n"' for name, value in catalog.mime_headers if name in header]
    return "\n".join(['msgid ""', 'msgstr ""', *lines, "", ""]).encode() + buffer.getvalue().lstrip()


def _add(catalog: Catalog, method: Any, path: Path) -> None:
    with path.open("rb") as file:
        for _, message, _, context in extract(method, file, KEYWORDS, options={"encoding": "utf-8"}):
            catalog.add(message, context=context)


def _setting_messages() -> Iterable[str]:
    """Texts of the settings' forms: models_core, which imports no Django, can't mark these."""
    yield from SUBJECTS
    for preset in PRESETS.values():
        yield from (preset.title, preset.help, *preset.help_of.values())
    for settings in STAGES.values():
        for field in dataclasses.fields(settings):
            yield field.name.replace("_", " ")
            if text := field.metadata.get("help"):
                yield text


def _is_translated(message: Message) -> bool:
    parts = message.string if isinstance(message.string, tuple) else (message.string,)
    return all(parts) and not message.fuzzy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["compile", "update"], default="compile")
    if parser.parse_args().what == "update":
        print(f"{update()} messages wait for a translation.")
    compile_all()
