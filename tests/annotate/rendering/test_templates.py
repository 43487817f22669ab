"""What templates do with text before any page is made of it."""

import re
from pathlib import Path

from django.conf import settings

VERBATIM = re.compile(r"<(?:textarea|pre)\b(?:[^<>{]|\{\{.*?\}\}|\{%.*?%\})*>(\s?)\{\{")


def test_boxes_of_text_begin_with_a_line_end_that_browsers_drop() -> None:
    # Else they drop the one that the text itself begins with.
    templates = list(Path(settings.BASE_DIR, "templates").rglob("*.html"))
    found = [(path.name, match[1]) for path in templates for match in VERBATIM.finditer(path.read_text("utf-8"))]
    assert len(found) > 5
    assert [name for name, gap in found if gap != "\n"] == []
