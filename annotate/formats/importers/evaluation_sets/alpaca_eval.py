"""AlpacaEval's annotations: an instruction, two models' outputs, and which of them an annotator preferred."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.importers.dialogues.alpaca import instruction_of
from annotate.formats.rows import Fields, ImportedResponse, ImportedRow, LeftOut, by_model, checked_messages, user_turn

NAME, LABEL = "alpaca_eval", gettext_noop("AlpacaEval annotations")


def recognises(row: dict[str, Any]) -> bool:
    return {"instruction", "output_1", "output_2", "preference"} <= set(row)


def parse(row: Fields) -> ImportedRow:
    """Preference is 1 or 2, or in between where an annotator's certainty is known; 0 and 1.5 are ties."""
    preference = row.number("preference", low=0, high=2)
    if preference is None:
        raise LeftOut(_("nothing was preferred"))
    ranks = (1, 1) if preference in (0, 1.5) else (1, 2) if preference < 1.5 else (2, 1)
    if preference not in (0, 1, 1.5, 2):
        row.leave("preference", _("kept as which is better, not by how much"))
    responses = []
    for number, rank in enumerate(ranks, start=1):
        responses.append(
            ImportedResponse(
                text=row.text(f"output_{number}"),
                rank=rank,
                **by_model(row.label(f"generator_{number}")),
            )
        )
    return ImportedRow(
        messages=checked_messages(user_turn(instruction_of(row))),
        source=row.label("dataset") or "AlpacaEval",
        judge="ai",
        judge_name=row.label("annotator"),
        responses=tuple(responses),
        ranked=True,
    )
