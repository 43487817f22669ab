"""RewardBench 2: a prompt with right and wrong responses of several models, which a reward model has to tell apart.

RewardBench's own pairs (`chosen` and `rejected` are texts) are read as Hone's.
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import (
    LONGEST_LABEL,
    Fields,
    ImportedResponse,
    ImportedRow,
    by_model,
    check_ranked,
    checked_messages,
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
    texts = [(text, rank) for rank, key in enumerate(("chosen", "rejected"), start=1) for text in row.texts(key)]
    check_ranked(len(texts))
    # Lengths of the lists.
    row.ignore("num_correct", "num_incorrect", "total_completions")
    models = row.texts("models", longest=LONGEST_LABEL) if "models" in row else []
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
            ImportedResponse(text=text, rank=rank, **by_model(model))
            for (text, rank), model in zip(texts, models or [""] * len(texts), strict=True)
        ),
    )
