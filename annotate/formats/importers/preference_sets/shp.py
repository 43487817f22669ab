"""Stanford's SHP: a post on Reddit and two comments on it, of which readers voted one higher."""

from typing import Any

from django.utils.translation import gettext_noop

from annotate.formats.rows import Fields, ImportedResponse, ImportedRow, checked_messages, user_turn

NAME, LABEL = "shp", gettext_noop("Stanford SHP")


def recognises(row: dict[str, Any]) -> bool:
    return {"history", "human_ref_A", "human_ref_B", "labels"} <= set(row)


def parse(row: Fields) -> ImportedRow:
    """`labels` is 1 where the first comment is the preferred one."""
    ranks = (1, 2) if row.zero_or_one("labels") else (2, 1)
    # They follow from the two scores and times.
    row.ignore("score_ratio", "seconds_difference")
    domain = row.label("domain")
    return ImportedRow(
        messages=checked_messages(user_turn(row.text("history"))),
        id=row.label("post_id"),
        source=f"SHP {domain}".strip(),
        ranked=True,
        responses=tuple(
            ImportedResponse(
                text=row.text(f"human_ref_{letter}"),
                rank=rank,
                model="Reddit",
                author_kind="person",
                score=row.number(f"score_{letter}"),
            )
            for letter, rank in zip("AB", ranks, strict=True)
        ),
    )
