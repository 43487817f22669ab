"""The reward model against people: by the difference of its scores, by use case, beside what noise allows."""

import csv
import io

import pytest
from django.test import Client

from annotate.models import Prompt
from annotate.quality import measures
from rlhf.models import ModelVersion
from tests.annotate.quality.measures.judging import judged
from tests.factories.cast import Cast, make_comparison, response_ids
from tests.harness.markup import markup

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]
PAGE = "/p/kindness/analysis/reward/"


def table(client: Client, name: str) -> dict[str, list[str]]:
    """{name: rest of the row} of a CSV file."""
    rows = list(csv.reader(io.StringIO(client.get(f"{PAGE}?csv={name}").content.decode("utf-8-sig"))))
    return {row[0]: row[1:] for row in rows}


def test_the_reward_model_is_held_against_people(cast: Cast, client: Client) -> None:
    client.force_login(cast.researcher)
    assert "No judged response of this period has a reward score." in markup(client.get(PAGE))
    for number, (orders, gap) in enumerate([("AA", 0.5), ("BB", 0.5), ("AB", 3.0)]):
        task = make_comparison(cast.project, f"Question {number}?", ("One.", "Two."))
        Prompt.objects.filter(tasks=task).update(use_case=["chat", "open_qa", "chat"][number])
        first, second = response_ids(task)
        measures.store_scores({first: gap, second: 0.0}, scorer="Reward model 3")
        for labeler, best in zip((cast.labeler, cast.second_labeler), orders, strict=True):
            judged(task, labeler, "A > B" if best == "A" else "B > A")
    measures.fold_due()
    ModelVersion.objects.create(
        project=cast.project, kind="reward", number=3, folder="x", metrics={"accuracy": 0.625, "eval_pairs": 40}
    )
    page = markup(client.get(PAGE))
    assert "<dt>of pairs, people prefer the higher score</dt><dd>50%" in page
    assert "Two labelers order a pair differently 33.3% of the time." in page
    assert "Reward model 3" in page
    assert "62.5%" in page
    gaps = table(client, "gaps")
    assert (gaps["3"][:2], gaps["3"][4:]) == (["0.5 up to 1", "0.5"], ["4", "2"])
    assert (gaps["5"][:2], gaps["5"][4:]) == (["2 and more", "0.5"], ["2", "1"])
    assert table(client, "use_cases")["open_qa"][1] == "0"
    assert table(client, "versions")["Reward model 3"][0] == "0.625"
    assert table(client, "trend")["start"] == ["rate", "low", "high", "pairs"]
    assert client.get(f"{PAGE}?csv=nothing").status_code == 404
