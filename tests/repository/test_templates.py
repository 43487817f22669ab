"""Templates, scripts and style sheets as they lie in the repository."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_LINE = 120
PAGES = sorted((ROOT / "templates").rglob("*.html"))
SOURCES = [
    *PAGES,
    *(path for end in ("js", "css") for path in sorted((ROOT / "static" / "hone").rglob(f"*.{end}"))),
]
# Elements that show each line end of theirs: in a pre-wrapped one as well, what a formatter adds is seen.
EXACT = re.compile(r'<(?:pre|textarea)\b[^>]*>(?!\n\{\{[^}]*\}\}</|</)|class="said"[^>]*>\s', re.S)


def test_no_line_is_too_long_to_be_reviewed() -> None:
    too_long = [
        f"{path.relative_to(ROOT)}:{number}: {len(line)}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().split("\n"), 1)
        if len(line) > LONGEST_LINE
    ]
    assert not too_long


def test_texts_that_show_each_line_end_begin_and_end_at_their_tags() -> None:
    """A browser drops the first line end of a textarea and a pre alone, so one is always there, and nothing else is."""
    wrong = [f"{page.name}: {found}" for page in PAGES for found in EXACT.findall(page.read_text())]
    assert not wrong
