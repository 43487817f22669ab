"""What the points of a scale mean: written by managers, part of presets, shown with the scale, not in a tooltip."""

import pytest
from django import forms
from django.test import Client

from annotate.errors import Refused
from annotate.forms.rubric import PRESETS, CriteriaField
from annotate.labeling.rubric import checked_criteria
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, make_comparison
from tests.harness.markup import markup

LINE = "truth | Truth | 0-4 | As far as you know | 4: True; 0: False"


def test_points_are_read_and_written_alike() -> None:
    field = CriteriaField(required=False)
    [criterion] = field.clean(LINE)
    assert criterion["anchors"] == {"4": "True", "0": "False"}
    assert field.prepare_value([criterion]) == LINE
    without_help = "truth | Truth | 0-4 |  | 4: True"
    assert field.clean(without_help)[0] == {
        "name": "truth", "label": "Truth", "min": 0, "max": 4, "anchors": {"4": "True"},
    }  # fmt: skip
    assert field.clean(field.prepare_value(field.clean(without_help))) == field.clean(without_help)
    assert field.prepare_value(field.clean("truth | Truth | 0-4")) == "truth | Truth | 0-4"


@pytest.mark.parametrize(
    "line", ["t | T | 0-4 | h | 5: Beyond", "t | T | 0-4 | h | four: Words", "t | T | 0-4 | h | 4:"]
)
def test_points_that_the_scale_has_not_are_refused(line: str) -> None:
    with pytest.raises(forms.ValidationError):
        CriteriaField(required=False).clean(line)


@pytest.mark.parametrize("anchors", [[], {"9": "x"}, {"1": ""}, {"1": "x" * 121}, {"1": 1}])
def test_a_rubric_of_another_shape_is_refused(anchors: object) -> None:
    with pytest.raises(Refused):
        checked_criteria([{"name": "t", "label": "T", "min": 0, "max": 4, "anchors": anchors}])


def test_helpsteer2_says_what_each_of_its_points_means() -> None:
    criteria = CriteriaField(required=False).clean(PRESETS["helpsteer2"][1])
    assert [item["name"] for item in criteria] == ["helpfulness", "correctness", "coherence", "complexity", "verbosity"]
    for item in criteria:
        assert set(item["anchors"]) == {"0", "1", "2", "3", "4"}


@pytest.mark.django_db
def test_the_ends_stand_under_the_scale_and_every_point_above_the_responses(cast: Cast) -> None:
    lines = "truth | Truth | 0-2 | | 2: True; 1: In part; 0: False\nplain | Plain | 1-7"
    criteria = CriteriaField(required=False).clean(lines)
    edit_project(project=cast.project, by=cast.manager, criteria=criteria)
    make_comparison(cast.project)
    client = Client()
    client.force_login(cast.labeler, backend="annotate.people.backends.PasswordBackend")
    page = markup(client.get("/p/kindness/work/"))
    assert page.count('<div class="ends" aria-hidden="true"><span>True</span><span>False</span></div>') == 4
    assert page.count('<div class="ends" aria-hidden="true"><span>best</span><span>worst</span></div>') == 4
    assert "<strong>1</strong>In part" in page
    assert 'aria-label="1: In part"' in page
