import numpy as np
import pytest
from django.core.management import CommandError, call_command

from annotate.errors import Refused
from annotate.labeling import simulation
from annotate.labeling.simulation import calibrated_noise, expected_agreement, perceived_ordering, simulate
from annotate.models import Assignment, JudgmentRevision, Membership, Task, User
from annotate.people.projects import edit_project
from tests.factories.cast import make_comparison

MOODS = (
    "I love this wonderful, delightful day!",
    "It is a good response.",
    "The door is four feet wide.",
    "I hate this terrible, horrible mess.",
)


def test_expected_agreement_by_hand():
    # sigmoid(ln 3) = 3/4: 9/16 + 1/16; equal scores are a coin each.
    assert expected_agreement(np.array([np.log(3)]), noise=1.0) == pytest.approx(10 / 16)
    assert expected_agreement(np.array([0.0, np.log(3)]), noise=1.0) == pytest.approx((0.5 + 10 / 16) / 2)


def test_the_noise_is_calibrated_to_the_agreement():
    differences = np.random.default_rng(0).uniform(0, 2, size=1_000)
    noise = calibrated_noise(differences, agreement=0.73)
    assert expected_agreement(differences, noise=noise) == pytest.approx(0.73, abs=1e-6)


def test_drawn_orderings_agree_as_often_as_expected():
    scores = {1: 0.9, 2: 0.4, 3: 0.0, 4: -0.7}
    differences = np.array([abs(scores[a] - scores[b]) for a in scores for b in scores if a < b])
    noise = calibrated_noise(differences, agreement=0.73)
    generator = np.random.default_rng(1)
    agreed = []
    for _ in range(3_000):
        one, other = (perceived_ordering(scores, noise=noise, generator=generator) for _ in range(2))
        agreed.append(len(set(one.pairs()) & set(other.pairs())) / 6)
    assert np.mean(agreed) == pytest.approx(0.73, abs=0.01)


def test_an_agreement_out_of_reach_is_refused_with_the_best_there_is():
    with pytest.raises(Refused, match="75% of these pairs at most"):
        calibrated_noise(np.array([0.0, 1.0]), agreement=0.9)
    for agreement in (0.5, 1.0):
        with pytest.raises(Refused, match="more than half"):
            calibrated_noise(np.array([1.0]), agreement=agreement)
    with pytest.raises(Refused, match="no comparisons"):
        calibrated_noise(np.array([]), agreement=0.7)


def test_positivity_likes_kind_words():
    judge = simulation.positivity()
    scores = [judge(text) for text in MOODS]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] == 0


def test_simulated_labelers_empty_the_queue_as_people_do(cast):
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    for number in range(25):
        make_comparison(cast.project, f"Question {number}", MOODS)
    result = simulate(project=cast.project)
    assert (result.judgments, result.labelers) == (50, 2)
    assert set(Task.objects.values_list("state", "judgments_given")) == {("complete", 2)}
    assert set(JudgmentRevision.objects.values_list("source", flat=True)) == {"ai"}
    assert result.expected == pytest.approx(0.73)
    assert result.measured.total == 150
    assert not Assignment.objects.filter(state__in=Assignment.HELD).exists()
    assert simulate(project=cast.project).judgments == 0


def test_little_noise_ranks_by_the_score_and_stops_where_asked(cast):
    for number in range(6):
        make_comparison(cast.project, f"Question {number}", MOODS)
    result = simulate(project=cast.project, noise=1e-3, judgments=4, labelers=3)
    assert result.judgments == 4
    for revision in JudgmentRevision.objects.select_related("judgment__task"):
        made = revision.judgment.task.task_responses.values_list("response_id", flat=True)
        assert revision.tiers == [[pk] for pk in made]
    assert Task.objects.filter(slots_free=1).count() == 2


def test_simulated_accounts_cannot_sign_in(cast):
    make_comparison(cast.project, texts=MOODS)
    simulate(project=cast.project, labelers=1)
    user = User.objects.get(username="simulated:kindness:1")
    assert not user.is_active
    assert not user.has_usable_password()
    assert Membership.objects.get(user=user).role == "labeler"


def test_the_command_says_what_it_did(cast, capsys):
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    for number in range(12):
        make_comparison(cast.project, f"Question {number}", MOODS)
    call_command("simulate_labelers", "kindness", "--agreement", "0.8")
    said = capsys.readouterr().out
    assert said.startswith("24 judgments by 2 simulated labelers, noise 0.")
    assert "Two of them agree on 80.0% of pairs" in said
    assert "of 72 pairs" in said


@pytest.mark.parametrize(
    "arguments", [["nope"], ["kindness"], ["kindness", "--noise", "0"], ["kindness", "--labelers", "0"]]
)
def test_the_command_refuses_in_a_sentence(cast, arguments):
    with pytest.raises(CommandError, match=r"\.$"):
        call_command("simulate_labelers", *arguments)
