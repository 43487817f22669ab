"""An evaluation from start to end: what is given to whom, what counts, when it stops, and what is refused."""

import pytest

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import Assignment, AuditEvent, Judgment, Project, Prompt, Response, Task
from annotate.people import projects
from rlhf import tasks
from rlhf.human_evaluation import evaluations, leaderboard
from rlhf.human_evaluation.evaluation_page import EvaluationPage, LeaderboardPage
from rlhf.human_evaluation.evaluations import Plan, usual_responses
from rlhf.loop import sampling
from rlhf.models import HumanEvaluation, Iteration, ModelVersion, TrainingRun
from rlhf.runs import runs
from tests.factories.cast import Cast, judge, make_comparison, make_prompt, make_responses
from tests.factories.head_to_head import make_policies
from tests.rlhf.human_evaluation.conftest import respond

pytestmark = pytest.mark.django_db
State = HumanEvaluation.State


def test_a_head_to_head_from_start_to_decision(cast, versions, start, judge_all):
    first, second = versions
    evaluation = start(versions, share=0.5)
    assert (evaluation.state, evaluation.number) == (State.ACTIVE, 1)
    assert cast.project.evaluation_share == 0.5
    items = list(evaluation.items.select_related("task", "prompt"))
    assert len(items) == 8
    for item in items:
        own = {str(one.pk): [item.prompt.responses.get(author=one.author).pk] for one in versions}
        assert item.responses == own
        assert (item.task.state, item.task.slots_free, item.task.judgments_wanted) == ("evaluate", 1, 1)
    done = judge_all([second, first])
    assert len(done) == 8
    assert all(held.is_check for held in done)
    evaluations.advance(evaluation.pk)
    evaluation.refresh_from_db()
    assert evaluation.state == State.DONE
    (pair,) = evaluation.figures["pairs"]
    assert (pair["first"], pair["second"], pair["rate"]) == (first.pk, second.pk, 0.0)
    assert (pair["wins"], pair["ties"], pair["losses"], pair["tested"]) == (0, 0, 8, 8)
    # Eight of eight are too few: M_8 = 2^8 B(12, 20) / B(12, 12).
    e_value = 2**8
    for number in range(8):
        e_value *= (12 + number) / (24 + number)
    assert pair["e_value"] == pytest.approx(e_value) == pytest.approx(2.4527, abs=0.0001)
    assert pair["verdict"] == "open"
    assert EvaluationPage(evaluation).decision() == "Undecided: 1 of 1 pairs showed no difference that can be stated."
    assert [row["version"] for row in evaluation.figures["ratings"]["versions"]] == [second.pk, first.pk]
    cast.project.refresh_from_db()
    assert cast.project.evaluation_share == 0.0
    assert set(Task.objects.values_list("state", "slots_free")) == {("evaluated", 0)}
    verbs = AuditEvent.objects.filter(verb__startswith="evaluation.").order_by("pk")
    assert list(verbs.values_list("verb", flat=True)) == ["evaluation.started", "evaluation.ended"]


def test_it_stops_as_soon_as_the_pair_is_decided(cast, start, judge_all):
    first, second = make_policies(cast.project, 2)
    for number in range(25):
        prompt = make_prompt(cast.project, f"What is {number} plus one?")
        respond(prompt, first, f"It is {number}.")
        respond(prompt, second, f"No idea about {number}.")
    evaluation = start([first, second])
    # M_n of n wins, worked out as above, reaches 20.
    judged = 0
    while evaluation.state != State.DONE:
        judged += 1
        judge_all([first, second], most=1)
        evaluations.advance(evaluation.pk)
        evaluation.refresh_from_db()
    product, wins = 1.0, 0
    while product < 20:
        product *= 2 * (12 + wins) / (24 + wins)
        wins += 1
    assert judged == wins == 16
    assert evaluation.figures["pairs"][0]["verdict"] == "first"
    assert EvaluationPage(evaluation).decision() == "Policy 1 is better than Policy 2."
    assert judge_all([first, second]) == []


def test_judgments_of_an_evaluation_are_work_and_no_data(cast, versions, start, judge_all):
    start(versions)
    judge_all(versions)
    assert Judgment.objects.filter(Judgment.WORK).count() == 8
    assert not Judgment.objects.filter(Judgment.COUNTED).exists()
    with pytest.raises(Refused, match="nothing to freeze"):
        snapshots.freeze(project=cast.project, kind="rankings")


def test_its_comparisons_come_by_draws_and_all_of_them_in_the_end(cast, versions, start, judge_all):
    for number in range(40):
        make_comparison(cast.project, f"Question {number}")
    ordinary = set(Task.objects.values_list("pk", flat=True))
    start(versions, share=0.2)
    given = [held.task_id for held in judge_all(None)]
    assert len(given) == 48
    places = [place for place, task in enumerate(given) if task not in ordinary]
    # Mixed among the others, not first and not last.
    assert places[0] < 40
    assert places != list(range(8))


@pytest.mark.parametrize("wanted", [1, 2])
def test_no_more_labelers_get_a_prompt_than_it_wants(cast, versions, start, judge_all, wanted):
    start(versions, judgments_per_prompt=wanted)
    labelers = (cast.labeler, cast.second_labeler, cast.reviewer)
    done = [len(judge_all(versions, labeler)) for labeler in labelers]
    assert done == ([8, 0, 0] if wanted == 1 else [8, 8, 0])


def test_a_skipped_or_lapsed_comparison_is_given_to_somebody_else(cast, versions, start, judge_all):
    evaluation = start(versions)
    first = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    queue.skip(assignment_id=first.pk, labeler=cast.labeler, reason="odd")
    assert Task.objects.get(pk=first.task_id).slots_free == 1
    queue.unskip(assignment_id=first.pk, labeler=cast.labeler)
    assert Task.objects.get(pk=first.task_id).slots_free == 0
    Assignment.objects.filter(pk=first.pk).update(lease_until="2020-01-01T00:00:00Z")
    assert queue.release_expired() == 1
    assert Task.objects.get(pk=first.task_id).slots_free == 1
    second = judge_all(versions, cast.second_labeler)
    assert first.task_id in {held.task_id for held in second}
    # The place is taken, so it does not come back; submitted late it is counted all the same.
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
    judge(first, [[key] for key in first.presentation])
    evaluations.advance(evaluation.pk)
    evaluation.refresh_from_db()
    assert (evaluation.figures["judgments"], evaluation.figures["complete"]) == (9, 8)


def test_a_lapsed_comparison_comes_back_while_its_place_is_free(cast, versions, start):
    start(versions)
    first = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    Assignment.objects.filter(pk=first.pk).update(lease_until="2020-01-01T00:00:00Z")
    queue.release_expired()
    assert queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False).pk == first.pk
    assert Task.objects.get(pk=first.task_id).slots_free == 0


def test_as_many_responses_as_the_projects_other_comparisons(cast):
    assert [usual_responses(cast.project, versions=count) for count in (2, 3, 4, 9)] == [2, 1, 1, 1]
    assert usual_responses(Project(responses_per_task=9), versions=2) == 4


def test_equal_texts_are_shown_once_and_tie_without_a_judgment(cast, start, judge_all):
    first, second = make_policies(cast.project, 2)
    same, half = make_prompt(cast.project, "Same?"), make_prompt(cast.project, "Half?")
    for version in (first, second):
        respond(same, version, "Yes.", "Yes. ")
    a, b = respond(half, first, "Yes.", "No.")
    _c, d = respond(half, second, "No.", "Perhaps.")
    evaluation = start([first, second], responses_per_version=2)
    by_prompt = {item.prompt_id: item for item in evaluation.items.all()}
    assert by_prompt[same.pk].task is None
    task = by_prompt[half.pk].task
    # The newest responses first; "No." of the first stands for the second's too.
    assert by_prompt[half.pk].responses == {str(first.pk): [b.pk, a.pk], str(second.pk): [d.pk, b.pk]}
    assert set(task.responses.all()) == {a, b, d}
    held = queue.claim_next(labeler=cast.labeler, project=cast.project)
    judge(held, [[b.pk], [a.pk], [d.pk]])
    evaluations.advance(evaluation.pk)
    evaluation.refresh_from_db()
    (pair,) = evaluation.figures["pairs"]
    # b > d, b = b, a > d, a < b: 2.5 of 4; the other prompt is a tie.
    assert pair["rate"] == pytest.approx((0.625 + 0.5) / 2)
    assert (evaluation.figures["judgments"], evaluation.figures["same_text"]) == (1, 1)
    assert evaluation.state == State.DONE


def test_three_versions_are_ranked_at_once(cast, start, judge_all):
    made = make_policies(cast.project, 3)
    for number in range(3):
        prompt = make_prompt(cast.project, f"What is {number}?")
        for version in made:
            respond(prompt, version, f"{version} says {number}.")
    evaluation = start(made)
    judge_all([made[2], made[0], made[1]])
    evaluations.advance(evaluation.pk)
    evaluation.refresh_from_db()
    rates = {(pair["first"], pair["second"]): pair["rate"] for pair in evaluation.figures["pairs"]}
    a, b, c = (version.pk for version in made)
    assert rates == {(a, b): 1.0, (a, c): 0.0, (b, c): 0.0}
    assert evaluation.figures["alpha"] == pytest.approx(0.05 / 3)
    matrix = EvaluationPage(evaluation).matrix()
    assert [[cell.rate and cell.rate.rate for cell in cells] for _version, cells in matrix] == [
        [None, 1.0, 0.0],
        [0.0, None, 0.0],
        [1.0, 1.0, None],
    ]


def test_what_is_missing_is_sampled_and_then_judged(cast, versions, start, sent, monkeypatch):
    first, _second = versions
    monkeypatch.setattr(ModelVersion, "has_files", True)
    new = make_prompt(cast.project, "And who are you?")
    evaluation = start(versions, response_source="fill", advance=False, sampling={"temperature": 0.7})
    runs_ = {one.version_id: one.run for one in evaluation.evaluated.all()}
    for version in versions:
        run = runs_[version.pk]
        assert run.options == {"samples": 1, "prompt_ids": [new.pk], "evaluation": evaluation.pk}
        assert run.config == {"seed": 1, "temperature": 0.7}
        assert [row["id"] for row in sampling.prompts_of(run)] == [str(new.pk)]
    tasks.advance_evaluation(evaluation.pk)
    evaluation.refresh_from_db()
    assert evaluation.state == State.SAMPLING
    for number, version in enumerate(versions):
        lease = runs.claim(run_id=runs_[version.pk].pk, worker="w")
        row = {"id": str(new.pk), "responses": [{"text": f"I am {number}.", "finish_reason": "stop"}]}
        assert sampling.store(runs_[version.pk], lease, iter([row]))["tasks"] == 0
        runs.succeed(lease, result={}, register=lambda: None)
        tasks.after_run(runs_[version.pk].pk)
    evaluation.refresh_from_db()
    assert evaluation.state == State.ACTIVE
    assert evaluation.items.get(prompt=new).task.responses.count() == 2
    # Twice, or late: nothing more.
    tasks.after_run(runs_[first.pk].pk)
    assert Task.objects.count() == 9


def test_a_failed_sampling_run_fails_the_evaluation_with_its_reason(cast, versions, start, monkeypatch):
    monkeypatch.setattr(ModelVersion, "has_files", True)
    evaluation = start(versions, response_source="sample", advance=False)
    run = evaluation.evaluated.first().run
    TrainingRun.objects.filter(pk=run.pk).update(status="failed", failure={"code": "out_of_memory", "values": {}})
    tasks.after_run(run.pk)
    evaluation.refresh_from_db()
    assert evaluation.state == State.FAILED
    assert evaluation.failure["code"] == "evaluation_run_failed"
    assert evaluation.failure["values"]["version"] == "Policy 1"


def test_cancelling_keeps_what_was_judged_and_gives_out_no_more(cast, versions, start, judge_all):
    evaluation = start(versions)
    judge_all(versions, most=2)
    evaluations.cancel(evaluation, by=cast.manager)
    cast.project.refresh_from_db()
    assert (cast.project.evaluation_share, judge_all(versions)) == (0.0, [])
    assert Judgment.objects.filter(Judgment.WORK).count() == 2
    with pytest.raises(Refused, match="ended already"):
        evaluations.cancel(evaluation, by=cast.manager)
    # The next one may begin now.
    assert start(versions).number == 2


def test_a_judgment_that_is_left_out_or_revised_changes_the_figures(cast, versions, start, judge_all):
    first, second = versions
    evaluation = start(versions)
    (held, *_others) = judge_all([first, second], most=3)
    evaluations.advance(evaluation.pk)
    evaluation.refresh_from_db()
    assert evaluation.figures["pairs"][0]["rate"] == 1.0
    judge(held, [list(held.presentation)])
    evaluations.advance(evaluation.pk)
    evaluation.refresh_from_db()
    assert evaluation.figures["pairs"][0]["rate"] == pytest.approx(2.5 / 3)


class TestRefused:
    """Each with its sentence, and nothing is written."""

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"versions": "twice"}, "The same version is chosen twice. Choose different ones."),
            ({"versions": "one"}, "Choose at least two versions to compare."),
            ({"versions": "reward"}, "Reward model 1 is a reward model: it scores responses and generates none."),
            ({"versions": "silent"}, "Policy 3 has no responses. Let it sample some."),
            ({"versions": "gone"}, "The files of Policy 1 are missing: there is no folder runs/p1."),
            ({"use_case": "extraction"}, "No prompt of the project matches this choice."),
            ({"responses_per_version": 5}, "2 versions with 5 responses each are more than a comparison holds: 9."),
            ({"prompt_count": 0}, "Choose 1 to 5000 prompts."),
            ({"judgments_per_prompt": 0}, "A prompt gets 1 to 20 judgments."),
            ({"judgments_per_prompt": 5}, "5 judgments of each prompt need as many labelers, and the project has 4."),
            ({"share": 0.0}, "Share and alpha are above 0 and at most 1, and the margin is below 0.5."),
            ({"share": 0.8}, "Gold tasks and repeats take 30% of the tasks, so the share can be at most 0.70."),
        ],
    )
    def test_bad_plans(self, cast, versions, values, sentence):
        Project.objects.filter(pk=cast.project.pk).update(gold_rate=0.2, repeat_rate=0.1)
        cast.project.refresh_from_db()
        first = versions[0]
        which = values.pop("versions", "")
        if which == "gone":
            values["response_source"] = "sample"
        chosen = {
            "twice": [first, first],
            "one": [first],
            "reward": [first, ModelVersion(project=cast.project, kind="reward", number=1, pk=999)],
            "silent": [first, make_policies(cast.project, 3)[2]],
        }.get(which, versions)
        plan = Plan(versions=chosen, **{"split": "", "response_source": "present", **values})
        with pytest.raises(Refused) as refused:
            evaluations.start(plan, project=cast.project, by=cast.manager)
        assert str(refused.value) == sentence
        assert not HumanEvaluation.objects.exists()

    def test_nobody_to_judge_and_nothing_to_compare(self, cast, versions):
        plan = Plan(versions=versions, split="", response_source="present")
        cast.project.memberships.exclude(role="researcher").delete()
        with pytest.raises(Refused, match="Nobody can judge"):
            evaluations.start(plan, project=cast.project, by=cast.researcher)
        cast.project.task_kinds = ["demonstrate"]
        with pytest.raises(Refused, match="compare no responses"):
            evaluations.start(plan, project=cast.project, by=cast.researcher)

    def test_a_second_one_while_one_is_under_way(self, cast, versions, start):
        start(versions)
        with pytest.raises(Refused, match="Evaluation 1 is under way"):
            start(versions)

    def test_more_gold_tasks_than_an_evaluation_leaves_room_for(self, cast, versions, start):
        start(versions, share=0.9)
        with pytest.raises(Refused, match="takes 90% of the tasks"):
            projects.edit_project(project=cast.project, by=cast.manager, gold_rate=0.2)


def test_prompts_are_drawn_at_random_from_the_chosen_part(cast, versions, start):
    Prompt.objects.filter(pk__in=Prompt.objects.values("pk")[:4]).update(use_case="chat")
    evaluation = start(versions, use_case="chat", prompt_count=3)
    drawn = set(evaluation.prompts.values_list("pk", flat=True))
    assert len(drawn) == 3
    assert drawn <= set(Prompt.objects.filter(use_case="chat").values_list("pk", flat=True))


class TestLeaderboard:
    def test_it_rates_all_versions_and_draws_the_line_over_rounds(self, cast, start, judge_all):
        made = make_policies(cast.project, 3)
        for number in range(24):
            prompt = make_prompt(cast.project, f"What is {number}?")
            for version in made:
                respond(prompt, version, f"{version} says {number}.")
        for pair, order in (((0, 1), (1, 0)), ((1, 2), (2, 1))):
            evaluation = start([made[place] for place in pair])
            judge_all([made[place] for place in order], most=18)
            judge_all([made[place] for place in reversed(order)])
            evaluations.advance(evaluation.pk)
        for number, version in ((1, made[1]), (2, made[2])):
            Iteration.objects.create(project=cast.project, number=number, state="succeeded", policy_version=version)
        board = leaderboard.refresh(cast.project)
        shown = LeaderboardPage(board)
        ratings = shown.ratings()
        assert [one.version for one in ratings] == made[::-1]
        # Three in four each time: odds of three to one, 191 points, less what the prior takes.
        assert [round(one.rating) for one in ratings] == pytest.approx([1382, 1191, 1000], abs=4)
        assert [one.is_anchor for one in ratings] == [False, False, True]
        assert ratings[0].prompts == 24
        assert [(point["round"], point["version"]) for point in shown.rounds] == [
            (0, made[0]),
            (1, made[1]),
            (2, made[2]),
        ]
        assert shown.sentence().startswith("People prefer the newest policy: Policy 3 is +38")
        assert list(shown.table("rounds"))[1] == [0, "policy 1", 1000.0, 1000.0, 1000.0]
        # Computed once for a state of the judgments.
        at = board.figures_at
        assert leaderboard.refresh(cast.project).figures_at == at

    def test_without_evaluations_it_is_empty(self, cast):
        shown = LeaderboardPage(leaderboard.refresh(cast.project))
        assert (shown.ratings(), shown.rounds, shown.sentence(), shown.anchor) == ([], [], "", None)


def test_ordinary_comparisons_between_versions_are_not_counted(cast: Cast, versions, start) -> None:
    evaluation = start(versions, prompt_count=1)
    other = make_prompt(cast.project, "Not part of it?")
    responses = make_responses(other, "One.", "Two.")
    queue.add_comparison(project=cast.project, prompt=other, responses=responses)
    for _ in range(2):
        held = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
        judge(held, [[key] for key in held.presentation])
    evaluations.advance(evaluation.pk)
    evaluation.refresh_from_db()
    assert evaluation.figures["judgments"] == 1
    assert Response.objects.filter(pk__in=evaluation.items.get().responses[str(versions[0].pk)]).exists()


def test_candidates_are_chosen_from_by_the_reward_model_in_use(cast, versions, start, monkeypatch):
    monkeypatch.setattr(ModelVersion, "has_files", True)
    chosen = {"response_source": "sample", "sampling": {"best_of": 2}, "advance": False}
    with pytest.raises(Refused, match="has no reward model yet"):
        start(versions, **chosen)
    reward = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/2/run/model")
    start(versions, **chosen)
    sampled = TrainingRun.objects.filter(stage="sample")
    assert sampled.count() == 2
    assert {run.run_inputs.get(role="reward").version for run in sampled} == {reward}
