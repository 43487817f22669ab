"""Import a file into a project: all of it, or nothing when a row is broken.

The file is read twice: first every row is checked, without the database; then all is written, in short transactions
and unseen, and one update shows all of it at once (see import_stages). What is there already isn't made again, so
importing a file twice changes nothing. What becomes of each kind of row:
- a prompt: a prompt, once per project by its content;
- a demonstration: its prompt, a response, a demonstration;
- responses without ranks: a task in the labeling queue; too few or too many for one are kept as responses, and said;
- a ranking or pair: a complete task with a judgment. Its labeler is an account that nobody can sign in to, named
  "imported:<project>:<labeler, judge or source>"; rows with the same `task` and responses are judgments of one task;
- a rating of one response: a complete task of that kind with a judgment.
What of a row has no place is named in the report by its key, with the number of rows and the reason.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from annotate.data import import_stages, language_guess
from annotate.data.imported_rows import RowStore
from annotate.data.pacing import Pace
from annotate.data.rejected_rows import RejectedRows
from annotate.errors import Refused
from annotate.formats import IMPORTERS, UnknownFormat, dataset_folders, detect, rows_of
from annotate.formats.files import BadFile
from annotate.formats.importers import hone
from annotate.formats.rows import BadRow, ImportedRow, LeftOut
from annotate.models import DataImport, Project, Upload, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

MOST_ERRORS = 20
MOST_BROKEN = 1_000
"""A file with more broken rows than this isn't what it was taken for: reading it on would tell nobody more."""
MOST_KEYS = 20
PREVIEWED, PREVIEWED_TEXT, PREVIEWED_RESPONSES = 3, 300, 6
MOST_ROWS = 2_000_000
BATCH = 500
MADE = (
    gettext_noop("prompts"),
    gettext_noop("demonstrations"),
    gettext_noop("responses"),
    gettext_noop("tasks"),
    gettext_noop("judgments"),
)
NotKept = Counter[tuple[str, str]]
Progress = Callable[[int, float], None]
"""(rows checked, share of them written)"""


def nobody_asks(rows: int, done: float) -> None:
    """How far an import is, where nobody waits for the reply."""


@dataclass(kw_only=True)
class ImportReport:
    """What became of a file.

    read:       rows in the file, broken ones too.
    created:    how many of each were made: prompts, demonstrations, tasks, judgments, and responses outside of tasks.
    duplicates: rows, or judgments of a row with several, that brought nothing new.
    left_out:   {reason: rows} that are sound but weren't wanted or have no place.
    not_kept:   {(key, reason): rows} of what Hone didn't keep of the rows it took; no reason where it has no place.
    remarks:    {what was done besides: how often}, such as languages that were guessed.
    errors:     the first 20 broken rows as "line 12: reason"; where there are any, nothing was imported.
    stopped:    reading ended at the last of very many broken rows.
    dry_run:    nothing was to be written: `created` counts the rows that would bring each.
    rejected:   the name of the file with every row that wasn't taken, or empty; rejected_rows: how many it has.
    preview:    the first rows as they were understood: [what it is, the question, [[text, rank], ...]].
    """

    format: str
    read: int = 0
    created: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    not_kept: NotKept = field(default_factory=Counter)
    remarks: dict[str, int] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    more_errors: int = 0
    stopped: bool = False
    dry_run: bool = False
    rejected: str = ""
    rejected_rows: int = 0
    preview: list[list[Any]] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The report in a sentence or two."""
        if self.errors:
            broken = len(self.errors) + self.more_errors
            sentence = ngettext(
                "Nothing was imported: %(broken)d of %(read)d rows is broken.",
                "Nothing was imported: %(broken)d of %(read)d rows are broken.",
                broken,
            ) % {"broken": broken, "read": self.read}
            return f"{sentence} {_('The rest of the file was not read.')}" if self.stopped else sentence
        made = [f"{self.created[name]} {_(name)}" for name in MADE if self.created.get(name)] or [_("nothing new")]
        sentences = [_("%(read)d rows read: %(made)s.") % {"read": self.read, "made": ", ".join(made)}]
        if self.dry_run:
            sentences.insert(0, _("Checked only; nothing was written."))
        if self.duplicates:
            sentences.append(_("%(rows)d rows were there already.") % {"rows": self.duplicates})
        for reason, number in self.left_out.items():
            sentences.append(_("%(rows)d left out: %(reason)s.") % {"rows": number, "reason": reason})
        sentences += [f"{remark}: {number}." for remark, number in self.remarks.items()]
        if self.not_kept:
            sentences.append(_("Not kept: %(keys)s.") % {"keys": "; ".join(self._keys_not_kept())})
        return " ".join(sentences)

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON; what wasn't kept as [key, reason, rows]."""
        plain = {name: value for name, value in vars(self).items() if name != "not_kept"}
        return plain | {"not_kept": [[key, reason, rows] for (key, reason), rows in self.not_kept.most_common()]}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """What as_json gave."""
        not_kept = Counter({(key, reason): rows for key, reason, rows in plain["not_kept"]})
        return cls(**plain | {"not_kept": not_kept, "errors": tuple(plain["errors"])})

    def _keys_not_kept(self) -> list[str]:
        """Each key with its rows and the reason, those of most rows first."""
        named = []
        for (key, reason), number in self.not_kept.most_common(MOST_KEYS):
            rows = ngettext("%(rows)d row", "%(rows)d rows", number) % {"rows": number}
            named.append(f"{key} ({rows})" + (f": {reason}" if reason else ""))
        if (more := len(self.not_kept) - MOST_KEYS) > 0:
            named.append(ngettext("and %(count)d more key", "and %(count)d more keys", more) % {"count": more})
        return named


@dataclass(kw_only=True)
class Wanted:
    """Which rows of a file are taken, and how they are read. For `limit` it counts those that it let through."""

    language: str = ""
    limit: int | None = None
    keep_tools: bool = False
    columns: Mapping[str, str] | None = None
    taken: int = 0

    def refusal(self, row: ImportedRow | LeftOut) -> str:
        """Why a sound row isn't taken, or nothing."""
        if isinstance(row, LeftOut):
            return str(row)
        if self.language and row.language and _primary(row.language) != _primary(self.language):
            return _("not in the language %(language)s") % {"language": self.language}
        if self.limit is not None and self.taken >= self.limit:
            return _("beyond the first %(limit)d") % {"limit": self.limit}
        self.taken += 1
        return ""

    def rows_of(self, path: Path, format: str, *, name: str) -> Iterator[tuple[str, Any]]:
        return rows_of(path, format, name=name, keep_tools=self.keep_tools, columns=self.columns)


def check_file(
    path: Path,
    *,
    format: str = "auto",
    name: str = "",
    wanted: Wanted | None = None,
    rejected: "RejectedRows | None" = None,
    progress: Progress = nobody_asks,
) -> ImportReport:
    """Read every row without writing any: a report with `read` and the errors, and of what would become of the rows.
    Raises Refused (400) for a file that can't be read at all."""
    name = name or path.name
    try:
        report = ImportReport(format=detect(path, name=name) if format == "auto" else format)
        _check(path, report, name=name, wanted=wanted or Wanted(), rejected=rejected, progress=progress)
    except BadFile as reason:
        raise _unreadable(reason, path, name) from None
    return report


def import_file(
    *,
    project: Project,
    path: str | Path,
    by: User | None,
    format: str = "auto",
    language: str = "",
    limit: int | None = None,
    keep_tools: bool = False,
    columns: Mapping[str, str] | None = None,
    dry_run: bool = False,
    name: str = "",
    wait: bool = True,
    upload: Upload | None = None,
    progress: Progress = nobody_asks,
) -> ImportReport:
    """Import a file; `by` None means that a command of the operator does it.

    language: take only rows in it (en takes en-GB too) and rows that don't say theirs. limit: take the first so many.
    keep_tools: take rows with turns of tools, which become text. columns: {field of Hone's rows: column of the
    file}, for a file that is in no format. dry_run: only check, and say what would be imported.
    path: a file, a folder of data files, or a zip of one. name: its name for people, where `path` is temporary.
    wait: for another import into the project to end; else it is refused (409) while one is under way.
    upload: what the file was kept as. progress: called for each row that is checked and each batch that is written,
    outside of transactions, with the rows checked and the share of them that is written; it may raise to end it all.
    Raises NotYours, and Refused (400) for a file that can't be read at all.
    """
    if by is not None:
        ensure(by, Capability.MANAGE, project)
    path = Path(path)
    # A name from the file system needn't be UTF-8.
    name = (name or path.name).encode("utf-8", "replace").decode()
    if format not in ("auto", *IMPORTERS):
        raise Refused(_("Hone reads the formats auto, %(formats)s.") % {"formats": ", ".join(IMPORTERS)}, status=400)
    if columns:
        format = hone.NAME
    wanted = Wanted(language=language, limit=limit, keep_tools=keep_tools, columns=columns)
    with _readable(path, name) as path:
        with RejectedRows(project) as rejected:
            report = check_file(path, format=format, name=name, wanted=wanted, rejected=rejected, progress=progress)
            report.rejected, report.rejected_rows = rejected.name, rejected.rows
        report.dry_run = dry_run
        if not dry_run:
            # What was foreseen; what is made is counted anew.
            report.created, report.left_out, report.not_kept, report.preview = {}, {}, Counter(), []
        if dry_run or report.errors:
            return report
        again = Wanted(language=language, limit=limit, keep_tools=keep_tools, columns=columns)
        try:
            data_import = import_stages.begin(project=project, by=by, file_name=name[:200], wait=wait, upload=upload)
            _write(path, report, data_import, wanted=again, name=name, progress=progress)
        except IntegrityError:
            # Something that a row refers to was taken away by somebody, or made, at the same moment.
            raise Refused(
                _(
                    "Somebody changed what %(file)s refers to while it was imported. Nothing was imported; "
                    "import it again."
                )
                % {"file": name}
            ) from None
        except BadFile as reason:
            raise _unreadable(reason, path, name) from None
        return report


@contextmanager
def _readable(path: Path, name: str) -> Iterator[Path]:
    """The file or folder that is read: of a zip a folder with its files, which goes afterwards."""
    with ExitStack() as stack:
        try:
            scratch = Path(settings.HONE_DATA) / "uploads"
            readable = stack.enter_context(dataset_folders.unpacked(path, name=name, scratch=scratch))
        except BadFile as reason:
            raise _unreadable(reason, path, name) from None
        yield readable


class UnknownColumns(Refused):
    """Nobody said which column of a file in no known format holds what. row: its first one."""

    def __init__(self, reason: str, row: dict[str, Any]) -> None:
        super().__init__(reason, status=400)
        self.row = row


def check_columns(path: Path, *, name: str) -> None:
    """Raises UnknownColumns for a file in no known format, whose columns a person has to name. Reads its first row."""
    try:
        detect(path, name=name)
    except UnknownFormat as reason:
        raise _unreadable(reason, path, name) from None
    except BadFile:
        return  # which the import says


def _unreadable(reason: BadFile, path: Path, name: str) -> Refused:
    # An upload's temporary name tells nobody anything.
    said = str(reason).replace(path.name, name)
    return UnknownColumns(said, reason.row) if isinstance(reason, UnknownFormat) else Refused(said, status=400)


def _check(
    path: Path,
    report: ImportReport,
    *,
    name: str,
    wanted: Wanted,
    rejected: "RejectedRows | None",
    progress: Progress,
) -> None:
    """Read every row without writing any; fills all of the report that can be known without the database."""
    errors: list[str] = []
    left_out, kinds = Counter[str](), Counter[str]()
    for place, found in wanted.rows_of(path, report.format, name=name):
        report.read += 1
        progress(report.read, 0.0)
        if report.read > MOST_ROWS:
            raise BadFile(
                _("%(file)s has more than %(most_rows)s rows; split it.")
                % {"file": path.name, "most_rows": f"{MOST_ROWS:,}"}
            )
        if isinstance(found, BadRow):
            if rejected is not None:
                rejected.add(place, str(found), found.values)
            if len(errors) < MOST_ERRORS:
                errors.append(f"{place}: {found}")
            else:
                report.more_errors += 1
            if len(errors) + report.more_errors >= MOST_BROKEN:
                report.stopped = True
                break
            continue
        for row in [found] if isinstance(found, LeftOut) else found:
            if reason := wanted.refusal(row):
                left_out[reason] += 1
                if rejected is not None:
                    rejected.add(place, reason, row.values if isinstance(row, LeftOut) else row.messages)
            elif isinstance(row, ImportedRow):
                kinds[_kind(row)] += 1
                report.not_kept.update(row.not_kept)
                if len(report.preview) < PREVIEWED:
                    report.preview.append(_previewed(row))
    report.created, report.left_out = dict(kinds), dict(left_out)
    if not report.read:
        raise BadFile(_("%(file)s holds no rows.") % {"file": path.name})
    report.errors = tuple(errors)


def _kind(row: ImportedRow) -> str:
    """What a row brings beside its prompt."""
    if row.demonstration is not None:
        return "demonstrations"
    if row.ranked or row.rated:
        return "judgments"
    return "tasks" if row.responses else "prompts"


def _previewed(row: ImportedRow) -> list[Any]:
    texts = [[item.text[:PREVIEWED_TEXT], item.rank] for item in row.responses[:PREVIEWED_RESPONSES]]
    if row.demonstration is not None:
        texts = [[row.demonstration[:PREVIEWED_TEXT], None]]
    return [_kind(row), row.messages[-1]["content"][:PREVIEWED_TEXT], texts]


def _write(
    path: Path,
    report: ImportReport,
    data_import: DataImport,
    *,
    wanted: Wanted,
    name: str,
    progress: Progress,
) -> None:
    project, left_out, seen = data_import.project, Counter[str](), 0

    def sound() -> Iterator[ImportedRow | LeftOut]:
        nonlocal seen
        for place, row in wanted.rows_of(path, report.format, name=name):
            seen += 1
            if isinstance(row, BadRow):
                raise BadFile(
                    _("%(file)s changed while it was read (%(place)s).") % {"file": path.name, "place": place}
                )
            yield from [row] if isinstance(row, LeftOut) else row

    def taken() -> Iterator[ImportedRow]:
        for row in sound():
            if reason := wanted.refusal(row):
                left_out[reason] += 1
            elif isinstance(row, ImportedRow):
                report.not_kept.update(row.not_kept)
                yield row

    with import_stages.staged(data_import) as stage:
        store = RowStore(project=project, file_name=name)
        pace = Pace(largest=BATCH)
        for batch in pace.batches(taken()):
            progress(report.read, min(seen / report.read, 0.999))
            if not all(row.language for row in batch):
                language_guess.load()
            with pace.transaction():
                stage.renew(rows=len(batch))
                store.add(batch)
        report.created, report.duplicates = dict(store.created), store.duplicates
        report.left_out, report.remarks = dict(left_out), store.remarks
        report.not_kept.update(store.not_kept)
        with transaction.atomic():
            stage.show(report=report.as_json())
            audit.record(
                verb="data.imported",
                actor=data_import.created_by,
                subject=project,
                project=project,
                file=name[:200],
                format=report.format,
                read=report.read,
                created=report.created,
            )
            if store.created["tasks"]:
                Project.objects.filter(pk=project.pk).update(queue_epoch=F("queue_epoch") + 1)
    import_stages.finish(data_import, token=stage.lease.token, heartbeat=lambda: progress(report.read, 1.0))


def _primary(language: str) -> str:
    return language.lower().replace("_", "-").partition("-")[0]
