"""A database whose sums have no weeks, after the migration that adds them."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.db.models import Q

from annotate.models import MeasureSums
from annotate.quality import measures
from tests.annotate.quality.measures.judging import judged, stored_sums
from tests.databases.earlier_database import earlier_database
from tests.factories.cast import Cast, make_comparison


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(1200)
def test_sums_by_week_and_of_the_project_are_those_that_folding_makes(cast: Cast) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("runs on PostgreSQL: the way back to an older database takes long")
    for number, at in enumerate([(2026, 2, 27), (2026, 3, 1), (2026, 3, 2), (2026, 3, 8)]):
        task = make_comparison(cast.project, f"Question {number}?", ("One.", "Two, longer."))
        for labeler, order in ((cast.labeler, "A > B"), (cast.second_labeler, "B > A")):
            judged(task, labeler, order, at=datetime(*at, 12, tzinfo=UTC), seconds=10.0 + number)
    measures.fold_due()
    # Win counts came later: their migration has all sums computed anew.
    MeasureSums.objects.filter(cut__in=["wins", "wins_by"]).delete()
    folded = stored_sums(cast.project)
    MeasureSums.objects.filter(Q(cut="project") | Q(grain="week")).delete()
    with earlier_database([("annotate", "0034_evaluation_share")]):
        pass
    assert {key[:2] for key in folded} >= {("project", "day"), ("project", "week"), ("both", "week")}
    assert stored_sums(cast.project) == folded
