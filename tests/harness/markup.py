"""A page's markup without the line ends and spaces beside its tags, which follow the layout of the templates."""

import re
from typing import Any


def markup(page: Any) -> str:
    """Of a response or a text. Spaces inside texts stay; those of a textarea or a pre are not what was sent."""
    return re.sub(r" ?(</?[a-zA-Z!][^>]*>) ?", r"\1", re.sub(r"\s+", " ", _source(page))).strip()


def tags_closed(page: Any) -> str:
    """Every space of the texts, but none before the end of a tag: where each space is shown, lines end in tags."""
    return re.sub(r"\s+>", ">", _source(page))


def _source(page: Any) -> str:
    return page if isinstance(page, str) else page.content.decode()
