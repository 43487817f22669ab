"""RewardBench 2: a prompt with right and wrong responses of several models, which a reward model has to tell apart.

RewardBench's own pairs (`chosen` and `rejected` are texts) are read as Hone's.
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import (
    LONGEST_LABEL,
    LONGEST_TEXT,
    MOST_RESPONSES,
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    checked_messages,
    text_of,
    user_turn,
)

NAME, LABEL = "rewardbench_2", gettext_noop("RewardBench 2")


def recognises(row: dict[str, Any]) -> bool:
    return isinstance(row.get("prompt"), str) and all(
        isinstance(texts := row.get(key), list) and texts and all(isinstance(text, str) for text in texts)
        for key in ("chosen", "rejected")
    )


def parse(row: Fields) -> ImportedRow:
    """All right responses are tied before all wrong ones. `models` names their authors in this order."""
    texts = [(text, rank) for rank, key in enumerate(("chosen", "rejected"), start=1) for text in _texts(row, key)]
    if not 1 < len(texts) <= MOST_RESPONSES:
        raise BadRow(_("a ranking needs 2 to %(most)d responses") % {"most": MOST_RESPONSES})
    # Lengths of the lists.
    row.ignore("num_correct", "num_incorrect", "total_completions")
    models = _texts(row, "models", longest=LONGEST_LABEL) if "models" in row else []
    if models and len(models) != len(texts):
        row.leave("models", _("not a name for each response"))
        models = []
    subset = row.label("subset")
    return ImportedRow(
        messages=checked_messages(user_turn(row.text("prompt"))),
        id=row.label("id"),
        source=f"RewardBench 2 {subset}".strip(),
        ranked=True,
        responses=tuple(
            ImportedResponse(text=text, rank=rank, model=model, author_kind="model" if model else "unknown")
            for (text, rank), model in zip(texts, models or [""] * len(texts), strict=True)
        ),
    )


def _texts(row: Fields, key: str, *, longest: int = LONGEST_TEXT) -> list[str]:
    found = row.raw(key)
    if not isinstance(found, list):
        raise BadRow(_("%(name)s must be a list of texts") % {"name": row.named(key)})
    return [text_of(text, row.named(key), longest=longest) for text in found]
