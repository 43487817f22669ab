""".xlsx files: read as a CSV file of the same cells, within bounds, and a sentence for what can't be read."""

import datetime
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from annotate.data.imports import import_file
from annotate.formats import detect, files
from annotate.formats.files import spreadsheets
from annotate.formats.rows import BadRow
from annotate.models import Judgment, Prompt
from tests.factories.cast import Cast

HEADER = ("prompt", "chosen", "rejected", "")
SHEET = "xl/worksheets/sheet1.xml"


def written(path: Path, *sheets: Iterable[Sequence[Any]]) -> Path:
    book = Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Sheet {number}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def with_part(path: Path, name: str, content: str) -> Path:
    """The workbook with other XML in place of one of its parts."""
    packed = zipfile.ZipFile(path)
    parts = {part: packed.read(part) for part in packed.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for part, was in (parts | {name: content.encode()}).items():
            target.writestr(part, content.encode() if part == name else was)
    return path


def sheet_xml(rows: str) -> str:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return f'<worksheet xmlns="{space}"><dimension ref="A1:XFD1048576"/><sheetData>{rows}</sheetData></worksheet>'


def test_cells_are_read_as_those_of_a_csv_file(tmp_path: Path) -> None:
    day = datetime.datetime.fromisoformat("2026-05-04T13:30")
    path = written(
        tmp_path / "x.xlsx",
        [
            HEADER,
            ("你好？", "Hello", 3.0, None),
            (),
            (day, True, 2.5, " "),
            (datetime.date(2026, 5, 4), datetime.time(1, 2), 10**14, None),
        ],
        [],
    )
    assert list(files.objects(path)) == [
        ("row 2", {"prompt": "你好？", "chosen": "Hello", "rejected": "3"}),
        ("row 4", {"prompt": "2026-05-04T13:30:00", "chosen": "true", "rejected": "2.5"}),
        ("row 5", {"prompt": "2026-05-04T00:00:00", "chosen": "01:02:00", "rejected": "100000000000000"}),
    ]
    assert detect(path) == "hone"


def test_formulas_errors_and_rows_that_are_too_long_are_named(tmp_path: Path) -> None:
    path = written(
        tmp_path / "x.xlsx", [HEADER, ("=A1&B1", "a", "b"), ("p", "#N/A", "b"), ("p", "a", "b", "", "more"), ("p", "a")]
    )
    found = [(place, str(row) if isinstance(row, BadRow) else row) for place, row in files.objects(path)]
    assert found == [
        ("row 2", "the cell A2 is a formula: paste its value"),
        ("row 3", "the cell B3 holds an error of the spreadsheet (#N/A)"),
        ("row 4", "5 cells under 3 columns"),
        ("row 5", {"prompt": "p", "chosen": "a"}),
    ]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ('<row r="999999999"><c r="A999999999"><v>1</v></c></row>', "x.xlsx holds no rows."),
        (
            '<row r="1"><c r="A1"><v>1</v></c></row><row r="999999999"><c r="A999999999"><v>1</v></c></row>',
            "x.xlsx has more than 1,048,576 rows or 1,000 columns.",
        ),
        (
            '<row r="1"><c r="A1"><v>1</v></c><c r="XFD1"><v>2</v></c></row>',
            "x.xlsx has more than 1,048,576 rows or 1,000 columns.",
        ),
        ('<row r="1"><c r="A1" t="s"><v>77</v></c></row>', "x.xlsx is a broken .xlsx file."),
        ('<row r="1"><c r="A1"><v>', "x.xlsx is a broken .xlsx file."),
        ("&lol;", "x.xlsx is a broken .xlsx file."),
    ],
)
def test_sheets_that_no_spreadsheet_wrote_end_in_a_sentence(tmp_path: Path, rows: str, sentence: str) -> None:
    path = with_part(written(tmp_path / "x.xlsx", [("a",)]), SHEET, sheet_xml(rows))
    with pytest.raises(files.BadFile, match=sentence.replace(".", r"\.")):
        list(files.objects(path))


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + sheet_xml(
        '<row r="1"><c r="A1" t="inlineStr"><is><t>&b;</t></is></c></row>'
    )
    path = with_part(written(tmp_path / "x.xlsx", [("a",)]), SHEET, bomb)
    with pytest.raises(files.BadFile, match="is a broken"):
        list(files.objects(path))


def test_what_would_fill_the_memory_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_part(written(tmp_path / "x.xlsx", [("a",)]), SHEET, " " * 3 * 2**20)
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(spreadsheets, "LARGEST_SHEET", 2 * 2**20)
    with pytest.raises(files.BadFile, match="unfolds to more than 2 MB"):
        list(files.objects(path))


def test_other_files_of_spreadsheets_get_a_sentence(tmp_path: Path) -> None:
    two = written(tmp_path / "two.xlsx", [("a",), ("1",)], [("b",)], [])
    old = tmp_path / "old.xls"
    old.write_bytes(spreadsheets.OLE_MAGIC + b"\0" * 600)
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(two.read_bytes()[:900])
    empty = written(tmp_path / "empty.xlsx", [])
    plain = tmp_path / "plain.zip"
    with zipfile.ZipFile(plain, "w") as packed:
        packed.writestr("x.jsonl", '{"prompt": "p"}')
    for path, sentence in (
        (two, "two.xlsx has rows in several sheets (“Sheet 0”, “Sheet 1”): keep one of them"),
        (old, "old.xls is protected by a password, or an old .xls file"),
        (broken, "broken.xlsx is a broken .xlsx file."),
        (empty, "empty.xlsx holds no rows."),
        (plain, "plain.zip holds neither JSON nor, by its name, a table"),
    ):
        with pytest.raises(files.BadFile) as found:
            detect(path)
        assert str(found.value).startswith(sentence), path


@pytest.mark.django_db
@pytest.mark.any_database
def test_an_upload_without_its_name_is_imported_all_or_nothing(cast: Cast, tmp_path: Path) -> None:
    good = written(tmp_path / "upload", [HEADER, ("Which one?", "This.", "That.")])
    report = import_file(project=cast.project, path=good, by=cast.manager, name="pairs.xlsx")
    assert not report.errors
    assert Prompt.objects.get(project=cast.project).messages == [{"role": "user", "content": "Which one?"}]
    assert Judgment.objects.count() == 1
    bad = written(tmp_path / "other", [HEADER, ("New one?", "This.", "That."), ("=1+1", "a", "b")])
    report = import_file(project=cast.project, path=bad, by=cast.manager, name="pairs.xlsx")
    assert "the cell A3 is a formula" in str(report.errors[0])
    assert Prompt.objects.filter(project=cast.project).count() == 1


def test_a_workbook_is_known_by_its_bytes(tmp_path: Path) -> None:
    assert not spreadsheets.is_workbook(_file(tmp_path / "a", b"PK"))
    assert not spreadsheets.is_workbook(_file(tmp_path / "b", b'{"prompt": 1}'))
    assert spreadsheets.is_workbook(_file(tmp_path / "c", spreadsheets.ZIP_MAGIC + b"x" * 50))


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
