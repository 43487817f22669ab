"""The sentence for the manager: each rule at its threshold, and what follows it."""

import copy

import pytest

from models_core.contract.reports import verdict_messages
from models_core.reward_report import verdict


def share(value, *, half=0.04, prompts=200, name="accuracy", **more):
    bounds = {"low": None, "high": None} if value is None else {"low": value - half, "high": value + half}
    return {name: value, **bounds, "prompts": prompts, "pairs": prompts, **more}


GOOD = {
    "pairs": 400,
    "prompts": 200,
    "judgments_in_all": 1000,
    "accuracy": 0.70,
    "accuracy_low": 0.66,
    "accuracy_high": 0.74,
    "by": {"language": [share(0.7, name="accuracy") | {"name": "en"}], "judge": [share(0.7) | {"name": "human"}]},
    "labelers": {"number": 3, "agreement": share(0.80, name="share")},
    "length": {
        "rule": "longer",
        "lead": share(0.15, name="difference"),
        "against_rule": share(0.60),
        "with_rule": share(0.75),
        "model_prefers_longer": share(0.55, name="share"),
        "people_prefer_longer": share(0.55, name="share"),
        "correlation_within_prompt": 0.1,
    },
    "calibration": {"temperature": 1.0, "ece": 0.02, "ece_of_chance": 0.05},
    "newest": None,
}


def said(**changes):
    """The verdict on the good report with some of its parts changed, by their paths: length__rule="shorter"."""
    report = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parts, last = path.split("__")
        index = report
        for part in parts:
            index = index[part]
        index[last] = value
    return verdict.verdict(report)


def accuracy(value, half=0.04, **more):
    return {"accuracy": value, "accuracy_low": value - half, "accuracy_high": value + half, **more}


LENGTH_ONLY = {"length__lead": share(0.0, name="difference"), "length__against_rule": share(0.45)}


@pytest.mark.parametrize(
    ("changes", "code", "ready"),
    [
        ({}, "good", True),
        ({"pairs": 0}, "no_held_out", None),
        (accuracy(0.70, prompts=29), "too_few", None),
        (accuracy(0.70, prompts=30), "good", True),
        (accuracy(0.45, 0.04), "reversed", False),
        (accuracy(0.52, 0.04), "chance", False),
        (accuracy(0.58, 0.08), "too_few", None),
        ({"labelers__agreement": share(0.55, name="share")}, "disagree", False),
        ({"labelers__agreement": share(0.57, name="share")}, "good", True),
        ({"labelers__agreement": share(0.55, name="share", prompts=29)}, "good", True),
        (LENGTH_ONLY, "only_longer", False),
        (LENGTH_ONLY | {"length__rule": "shorter"}, "only_shorter", False),
        (LENGTH_ONLY | {"length__against_rule": share(0.47)}, "good", True),
        (LENGTH_ONLY | {"length__lead": share(0.05, name="difference")}, "good", True),
        (accuracy(0.65), "good", True),
        (accuracy(0.649), "almost", None),
        (accuracy(0.61, 0.03), "weak", False),
        (accuracy(0.66, 0.12), "unsure", None),
        # Labelers who agree on 62% of pairs can't teach more than that.
        (accuracy(0.62) | {"labelers__agreement": share(0.62, name="share")}, "good", True),
        (accuracy(0.62) | {"labelers__agreement": share(0.62, name="share", prompts=29)}, "almost", None),
    ],
)
def test_each_rule_at_its_threshold(changes, code, ready):
    found = said(**changes)
    assert (found["code"], found["ready"]) == (code, ready)


def languages(*rows):
    return {"by__language": [share(value, prompts=prompts) | {"name": name} for name, value, prompts in rows]}


def test_a_weak_language_is_named():
    found = said(**languages(("en", 0.75, 150), ("zh", 0.55, 50), ("fr", 0.5, 20)))
    assert (found["code"], found["ready"], found["values"]["group"]) == ("good_except", True, "zh")
    assert "but not in zh: there it orders 55%" in found["sentence"]
    assert [finding["values"] for finding in found["findings"] if finding["code"] == "thin"] == [
        {"prompts": 20, "group": "fr"}
    ]
    found = said(**accuracy(0.60, 0.03), **languages(("en", 0.63, 150), ("zh", 0.5, 50)))
    assert (found["code"], found["ready"], found["values"]["group"]) == ("weak_in", False, "zh")


def test_the_only_language_there_is_is_not_named():
    assert said(**languages(("zh", 0.55, 200)))["code"] == "good"


def test_a_good_model_is_told_with_its_figures():
    assert said()["sentence"] == "Good enough for PPO: it orders 70% of held-out pairs as people do (66% to 74%)."


def findings(**changes):
    return [finding["code"] for finding in said(**changes)["findings"]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"labelers__agreement": share(0.73, name="share")}, ["at_ceiling"]),
        ({"labelers__agreement": share(0.75, name="share")}, []),
        ({"labelers__number": 1, "labelers__agreement": share(None, name="share", prompts=0)}, ["one_labeler"]),
        ({"labelers__agreement": share(None, name="share", prompts=0)}, ["no_overlap"]),
        ({"by__judge": [share(0.7) | {"name": "ai"}]}, ["only_machines"]),
        ({"length__model_prefers_longer": share(0.701, name="share")}, ["leans_longer"]),
        ({"length__model_prefers_longer": share(0.69, name="share")}, []),
        ({"length__model_prefers_longer": share(0.399, name="share")}, ["leans_shorter"]),
        ({"length__model_prefers_longer": share(0.9, name="share", prompts=29)}, []),
        (
            {"length__correlation_within_prompt": 0.5, "length__model_prefers_longer": share(0.56, name="share")},
            ["leans_longer"],
        ),
        ({"calibration": {"temperature": 1.5, "ece": 0.06, "ece_of_chance": 0.05}}, ["overconfident"]),
        ({"calibration": {"temperature": 1.4, "ece": 0.06, "ece_of_chance": 0.05}}, []),
        ({"calibration": {"temperature": 2.0, "ece": 0.05, "ece_of_chance": 0.05}}, []),
        ({"by__source": [share(0.61) | {"name": "a"}, share(0.55) | {"name": "b"}]}, ["weak_group"]),
        ({"by__source": [share(0.64, half=0.01) | {"name": "a"}]}, ["weak_group"]),
        ({"by__source": [share(0.655, half=0.001) | {"name": "a"}]}, []),
        ({"by__policy": [share(0.55, prompts=29) | {"name": "a"}]}, []),
        ({"newest": share(0.60, before=0.65)}, ["aged"]),
        ({"newest": share(0.62, before=0.65)}, ["holds"]),
        ({"newest": share(0.60, before=None)}, ["holds"]),
        ({"newest": share(0.60, before=0.65, prompts=29)}, []),
        ({"newest": share(None, before=0.65, prompts=0)}, []),
    ],
)
def test_what_else_is_worth_knowing(changes, expected):
    assert findings(**changes) == expected


def test_how_many_more_judgments_narrow_the_interval_to_five_points():
    """Half a width of 10 points wants four times the prompts: three times as many again, of 1000 judgments 3000."""
    assert verdict.judgments_wanted(GOOD | accuracy(0.66, 0.10)) == 3000
    assert verdict.judgments_wanted(GOOD | accuracy(0.70, 0.05)) == 100
    assert verdict.judgments_wanted(GOOD | accuracy(0.70, 0.05, judgments_in_all=123_456)) == 13_000
    # Three prompts that are all right say nothing of how wide it really is.
    assert verdict.judgments_wanted(GOOD | accuracy(1.0, 0.0, prompts=4, judgments_in_all=40)) == 600


@pytest.mark.parametrize("code", verdict_messages.SENTENCES)
def test_every_sentence_can_be_worded(code):
    """Each is reached by a test above or fits its values' names; none holds a place that no finding fills."""
    names = {"prompts": 12, "more": 1200, "temperature": 2.345, "group": "zh"}
    shares = ("accuracy", "low", "high", "agreement", "against", "bar", "group_accuracy", "group_low", "group_high")
    shares += ("model", "people", "before", "newest")
    worded = verdict_messages.sentence(code, names | dict.fromkeys(shares, 0.614))
    assert "%(" not in worded
    assert worded[0].isupper()
    assert worded.endswith(".")


def test_a_sentence_of_another_version_is_left_out():
    assert verdict_messages.sentence("never heard of", {}) == ""


def test_sentences_are_translated_before_they_are_filled_in():
    said = verdict_messages.sentence(
        "good", {"accuracy": 0.7, "low": 0.66, "high": 0.74}, translate=lambda text: text.upper()[:9]
    )
    assert said == "GOOD ENOU"
