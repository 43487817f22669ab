"""A labeler's home: what waits, what is done, how far it agrees; and what it never shows."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.labeling import exam, queue
from annotate.models import Judgment, Project, Prompt, Task, User
from annotate.people.projects import edit_project
from annotate.quality import measures
from annotate.quality.labeler_progress import Day, LabelerProgress, TotalProgress
from tests.factories.cast import Cast, judge, make_comparison, make_prompt, response_ids
from tests.harness.markup import tags_closed

pytestmark = pytest.mark.django_db


def progress(cast: Cast, labeler: User | None = None) -> LabelerProgress:
    measures.fold_due()
    return LabelerProgress(labeler=labeler or cast.labeler, project=Project.objects.get(pk=cast.project.pk))


def judge_all(cast: Cast, labeler: User, *, upside_down: int = 0) -> None:
    """Everything that waits, in the order in which the responses were made; the first few the other way round."""
    project = Project.objects.get(pk=cast.project.pk)
    while (assignment := queue.claim_next(labeler=labeler, project=project)) is not None:
        order = [[key] for key in response_ids(assignment.task)]
        judge(assignment, order[::-1] if upside_down > 0 else order)
        upside_down -= 1


def comparisons(cast: Cast, count: int) -> list[Task]:
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    cast.project.refresh_from_db()
    return [make_comparison(cast.project, f"Question {number}?") for number in range(count)]


class TestWhatWaits:
    def test_is_counted_by_kind_as_the_queue_would_give_it(self, cast: Cast) -> None:
        comparisons(cast, 3)
        edit_project(project=cast.project, by=cast.manager, task_kinds=["compare", "demonstrate"])
        cast.project.refresh_from_db()
        Task.objects.create(
            project=cast.project, kind=Task.Kind.DEMONSTRATE, prompt=make_prompt(cast.project, "Write?")
        )
        Task.objects.create(project=cast.project, kind=Task.Kind.WRITE_PROMPT)  # this kind is off
        assert [(item.kind, item.count, item.more) for item in progress(cast).open_tasks] == [
            ("compare", 3, False),
            ("demonstrate", 1, False),
        ]
        assert [item.label for item in progress(cast).open_tasks] == ["comparisons", "ideal response to write"]
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert assignment is not None
        queue.skip(assignment_id=assignment.pk, labeler=cast.labeler)
        assert sum(item.count for item in progress(cast).open_tasks) == 3

    def test_leaves_out_what_one_is_spared(self, cast: Cast) -> None:
        task = comparisons(cast, 2)[0]
        Prompt.objects.filter(pk=task.prompt_id).update(sensitive=True)
        User.objects.filter(pk=cast.labeler.pk).update(sensitive_choice="never")
        assert [item.count for item in progress(cast, User.objects.get(pk=cast.labeler.pk)).open_tasks] == [1]

    def test_is_the_exam_before_it_is_passed(self, cast: Cast, client: Client) -> None:
        task = comparisons(cast, 2)[0]
        Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
        exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager)
        edit_project(project=cast.project, by=cast.manager, exam_threshold=0.5)
        assert progress(cast).open_tasks == []
        client.force_login(cast.labeler)
        page = client.get("/").content.decode()
        assert "Take the exam" in page
        assert "/p/kindness/exam/" in page

    def test_is_nothing_in_a_closed_project(self, cast: Cast) -> None:
        comparisons(cast, 1)
        edit_project(project=cast.project, by=cast.manager, archived=True)
        assert progress(cast).open_tasks == []


class TestProgress:
    def test_counts_what_counts_by_day(self, cast: Cast) -> None:
        comparisons(cast, 4)
        judge_all(cast, cast.labeler)
        first, second, third, _fourth = Judgment.objects.order_by("pk")
        now = timezone.now()
        Judgment.objects.filter(pk=first.pk).update(created_at=now - timedelta(days=13))
        Judgment.objects.filter(pk=second.pk).update(created_at=now - timedelta(days=40))
        Judgment.objects.filter(pk=third.pk).update(latest=None)  # taken back
        progress = TotalProgress.of(cast.labeler)
        assert (progress.total, progress.today, progress.lately) == (3, 1, 2)
        assert [day.count for day in progress.days] == [1, *[0] * 12, 1]
        assert progress.days[-1].date == timezone.localdate()

    def test_is_drawn_as_bars_the_highest_for_the_most(self) -> None:
        today = timezone.localdate()
        progress = TotalProgress(total=6, days=[Day(today, 0), Day(today, 2), Day(today, 4)])
        assert [bar[1:] for bar in progress.bars] == [
            ("2", "39.20", "0.80"),
            ("14", "22.00", "18.00"),
            ("26", "4.00", "36.00"),
        ]


class TestQuality:
    def test_against_others_rests_on_five_shared_tasks_and_has_an_interval(self, cast: Cast) -> None:
        comparisons(cast, 4)
        judge_all(cast, cast.labeler)
        judge_all(cast, cast.second_labeler, upside_down=1)
        assert progress(cast).against_peers is None
        make_comparison(cast.project, "The fifth?")
        judge_all(cast, cast.labeler)
        judge_all(cast, cast.second_labeler)
        share = progress(cast).against_peers
        assert share is not None
        assert (share.hits, share.total) == (24, 30)
        assert share.low is not None
        assert share.high is not None
        assert share.low < 0.8 < share.high

    def test_says_nothing_of_tasks_that_one_has_not_submitted(self, cast: Cast) -> None:
        comparisons(cast, 6)
        judge_all(cast, cast.second_labeler)
        judge_all(cast, cast.manager)
        assert progress(cast).against_peers is None
        assert progress(cast).against_gold is None

    def test_says_nothing_of_what_peers_have_only_begun_or_taken_back(self, cast: Cast) -> None:
        comparisons(cast, 6)
        judge_all(cast, cast.labeler)
        held = queue.claim_next(labeler=cast.second_labeler, project=cast.project)
        assert held is not None
        queue.save_draft(assignment_id=held.pk, labeler=cast.second_labeler, draft={"rank-1": ["1"]})
        assert progress(cast).against_peers is None
        judge_all(cast, cast.second_labeler)
        Judgment.objects.filter(labeler=cast.second_labeler).update(latest=None)
        measures.judgments_changed(Task.objects.values_list("pk", flat=True))
        assert progress(cast).against_peers is None

    def test_against_what_is_known_counts_its_pairs(self, cast: Cast) -> None:
        for task in comparisons(cast, 5):
            Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
        judge_all(cast, cast.labeler, upside_down=2)
        # Today's tasks are not among them: a figure that moved with one would tell which it was.
        assert progress(cast).against_gold is None
        Judgment.objects.update(created_at=timezone.now() - timedelta(days=1))
        measures.judgments_changed(Task.objects.values_list("pk", flat=True))
        share = progress(cast).against_gold
        assert share is not None
        assert (share.hits, share.total) == (18, 30)


class TestThePage:
    def test_shows_figures_a_picture_and_changed_guidelines_and_pushes_nobody(self, cast: Cast, client: Client) -> None:
        comparisons(cast, 5)
        judge_all(cast, cast.labeler)
        judge_all(cast, cast.second_labeler)
        measures.fold_due()
        edit_project(project=cast.project, by=cast.manager, guidelines="Rank by **kindness** and warmth.")
        client.force_login(cast.labeler)
        page = tags_closed(client.get("/"))
        assert "Agreement with others" in page
        assert "100%" in page
        assert page.count("<rect") == 14
        assert "<ins> and warmth</ins>" in page
        assert "There is no quota" in page
        assert cast.second_labeler.username not in page

    def test_of_one_who_does_not_label_has_no_figures(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.researcher)
        page = client.get("/").content.decode()
        assert "Kindness" in page
        assert "pace" not in page

    def test_shows_nobody_elses_projects(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.outsider)
        page = client.get("/").content.decode()
        assert "Elsewhere" in page
        assert "Kindness" not in page


class TestTheGuidelinesPage:
    def test_shows_what_is_new_and_what_changed_since_any_version(self, cast: Cast, client: Client) -> None:
        comparisons(cast, 1)
        judge_all(cast, cast.labeler)
        edit_project(project=cast.project, by=cast.manager, guidelines="Rank by **kindness** alone.")
        client.force_login(cast.labeler)
        page = tags_closed(client.get("/p/kindness/guidelines/"))
        assert "Changes since you last worked" in page
        assert "<ins> alone</ins>" in page
        edit_project(project=cast.project, by=cast.manager, guidelines="Rank by **warmth** alone.")
        page = tags_closed(client.get("/p/kindness/guidelines/?since=2"))
        assert "<del>kindness</del><ins>warmth</ins>" in page
        assert client.get("/p/kindness/guidelines/?since=9&version=x").status_code == 200

    def test_says_the_projects_rule_about_upsetting_prompts(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.labeler)
        assert "You can opt out of them" in client.get("/p/kindness/guidelines/").content.decode()
        edit_project(project=cast.project, by=cast.manager, sensitive_rule="nobody")
        assert "given to nobody here" in client.get("/p/kindness/guidelines/").content.decode()


def test_the_choice_on_the_account_page_takes_upsetting_tasks_back_at_once(cast: Cast, client: Client) -> None:
    task = comparisons(cast, 1)[0]
    Prompt.objects.filter(pk=task.prompt_id).update(sensitive=True)
    held = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert held is not None
    client.force_login(cast.labeler)
    fields = {"first_name": "", "last_name": "", "language": "", "theme": "system", "sensitive_choice": "never"}
    assert client.post("/account/", fields).status_code == 302
    held.refresh_from_db()
    assert held.state == "expired"
