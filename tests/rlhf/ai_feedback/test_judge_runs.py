"""Runs of AI labelers: a real child asks a small server on loopback; pages, budget, versions and the gate."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from annotate.data.stored_messages import text as message_text
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import AILabeler, AuditEvent, Judgment, JudgmentRevision, Response, Task
from rlhf.ai_feedback import endpoints, judge_runs, judges
from rlhf.ai_feedback.judges import PromptTexts
from rlhf.models import JudgePrompt, ModelVersion, TrainingRun
from rlhf.runs import runs
from rlhf.runs.execution import run_command, supervisor
from rlhf.runs.execution.run_files import RunFiles
from tests.annotate.quality.test_consensus import judged
from tests.factories.cast import Cast, make_comparison, response_ids
from tests.models_core.ai_feedback.test_judge import prefers_early_letters, says
from tests.models_core.generation import test_served_model
from tests.models_core.generation.test_served_model import KEY, fake  # noqa: F401 (a fixture)
from tests.rlhf.conftest import assert_labeled


@pytest.fixture
def server(fake: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    monkeypatch.setattr(test_served_model, "completion", prefers_early_letters)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    settings.HONE_AI_ENDPOINTS = {"local": (fake.address, "JUDGE_KEY")}
    return fake


@pytest.fixture
def labeler(cast: Cast, settings: Any) -> AILabeler:
    if not settings.HONE_AI_ENDPOINTS:
        settings.HONE_AI_ENDPOINTS = {"local": ("http://127.0.0.1:9/v1", "")}
    made = judges.create(project=cast.project, name="Early letters", endpoint="local", by=cast.manager)
    quick = {"server_requests": 1, "server_retries": 1, "server_timeout": 20.0}
    judges.save_settings(made, weight=1.0, least_agreement=0.4, least_tasks=2, config=quick, by=cast.manager)
    return AILabeler.objects.get(pk=made.pk)


def comparisons(cast: Cast, count: int) -> list[Task]:
    return [make_comparison(cast.project, f"Letter {number}?", ("b", "a")) for number in range(count)]


def saved(labeler: AILabeler, **config: Any) -> None:
    judges.save_settings(
        labeler,
        weight=labeler.weight,
        least_agreement=labeler.least_agreement,
        least_tasks=labeler.least_tasks,
        config=labeler.judge.config | config,
        by=None,
    )


def ended(run: TrainingRun) -> TrainingRun:
    supervisor.execute(run.pk)
    run.refresh_from_db()
    return run


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("embedded_broker")
def test_a_run_judges_each_task_once_and_measures(cast: Cast, server: Any, labeler: AILabeler) -> None:
    tasks = comparisons(cast, 3)
    for task in tasks[:2]:
        judged(task, cast.labeler, "B > A")
    run = judge_runs.start(labeler, choice="judged", most=10, by=cast.manager)
    assert KEY not in json.dumps(run.config)
    run = ended(run)
    assert (run.status, run.error) == ("succeeded", "")
    assert_labeled(run)
    expected = {"judged": 2, "judgments": 2, "requests": 4, "input_tokens": 400, "position_consistency": 1.0}
    assert expected.items() <= run.result.items()
    given = list(Judgment.objects.filter(ai_labeler=labeler).order_by("task"))
    assert [judgment.task for judgment in given] == tasks[:2]
    for judgment, task in zip(given, tasks, strict=False):
        assert judgment.latest is not None
        assert judgment.latest.tiers == [[key] for key in response_ids(task)[::-1]]
        assert judgment.latest.source == "ai"
    labeler.refresh_from_db()
    assert labeler.measures[""]["tasks"] == 2
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in "".join(path.read_text() for path in RunFiles(run).path.rglob("*") if path.is_file())
    assert AuditEvent.objects.get(verb="ai_labeler.judged").detail["judgments"] == 2

    # The worker died after it had stored all this: the next one finds it done.
    TrainingRun.objects.filter(pk=run.pk).update(status="queued")
    run = ended(run)
    assert (run.status, JudgmentRevision.objects.filter(source="ai").count()) == ("succeeded", 2)
    # Nothing of these tasks is left for this version; the third nobody has judged.
    with pytest.raises(Refused, match="no such tasks"):
        judge_runs.start(labeler, choice="judged", most=10, by=cast.manager)
    assert list(judge_runs.candidates(labeler, "unjudged")) == [tasks[2]]
    assert judge_runs.spent(labeler).requests == 4


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("embedded_broker")
def test_a_dead_server_is_a_sentence_and_a_resumed_run_asks_nothing_twice(
    cast: Cast, server: Any, labeler: AILabeler
) -> None:
    comparisons(cast, 2)
    server.scenes = [None, (503, {}), (503, {})]
    run = ended(judge_runs.start(labeler, choice="all", most=10, by=cast.manager))
    assert run.status == "failed"
    assert "was asked 2 times and answered with status 503" in message_text(run.failure)
    assert not Judgment.objects.exists()
    # What was spent counts although the run did not end; its sentence stands on the page.
    assert judge_runs.spent(labeler).requests == 1
    client = Client()
    client.force_login(cast.manager)
    page = client.get(reverse("rlhf:ai_labeler", args=[cast.project.slug, labeler.pk])).content.decode()
    assert "was asked 2 times and answered with status 503" in page
    asked = len(server.bodies)
    runs.resume(run=run, by=cast.manager)
    run = ended(run)
    assert (run.status, run.result["judged"], len(server.bodies) - asked) == ("succeeded", 2, 3)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("embedded_broker")
def test_revisions_become_responses_and_comparisons_marked_as_ai_made(
    cast: Cast, server: Any, labeler: AILabeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replies(body: Any) -> Any:
        is_verdict = "<response A" in body["messages"][1]["content"]
        return prefers_early_letters(body) if is_verdict else says("a kinder a")

    monkeypatch.setattr(test_served_model, "completion", replies)
    (task,) = comparisons(cast, 1)
    texts = PromptTexts(constitution="Be kind.")
    assert judges.save_prompt(labeler, texts, by=cast.manager)
    run = ended(judge_runs.start(AILabeler.objects.get(), choice="all", most=1, by=cast.manager))
    assert (run.status, run.result["revised_responses"]) == ("succeeded", 1)
    original = task.task_responses.get(number=1).response
    revised = Response.objects.get(edited_from=original)
    assert (revised.text, revised.author.ai_labeler) == ("a kinder a", labeler)
    comparison = revised.tasks.get()
    assert set(response_ids(comparison)) == {original.pk, revised.pk}
    assert (comparison.prompt, comparison.state, comparison.has_edits) == (task.prompt, "open", True)


@pytest.mark.usefixtures("nothing_sent")
class TestStarting:
    def test_the_budget_is_of_all_runs_together(self, cast: Cast, labeler: AILabeler) -> None:
        comparisons(cast, 4)
        saved(labeler, max_requests=10)
        labeler.refresh_from_db()
        run = judge_runs.start(labeler, choice="all", most=2, by=None)
        assert run.config["max_requests"] == 10
        TrainingRun.objects.filter(pk=run.pk).update(status="succeeded", result={"requests": 6, "input_tokens": 600})
        # One that was killed: its file says what it had asked for.
        second = judge_runs.start(labeler, choice="all", most=2, by=None)
        assert second.config["max_requests"] == 4
        TrainingRun.objects.filter(pk=second.pk).update(status="cancelled")
        partial = RunFiles(second).path / "judgments.jsonl.partial"
        partial.parent.mkdir(parents=True)
        usage = {"requests": 4, "input_tokens": 100, "output_tokens": 8, "estimated": 0}
        partial.write_text(json.dumps({"model": "x"}) + "\n" + json.dumps({"row": 0, "usage": usage}) + '\n{"row')
        found = judge_runs.spent(labeler)
        assert (found.requests, found.tokens) == (10, 708)
        with pytest.raises(Refused, match="budget is spent"):
            judge_runs.start(labeler, choice="all", most=2, by=None)

    def test_one_run_judges_at_a_time_and_holds_its_settings(self, cast: Cast, labeler: AILabeler) -> None:
        comparisons(cast, 2)
        run = judge_runs.start(labeler, choice="all", most=1, by=None)
        with pytest.raises(Refused, match=f"Run {run.pk} judges already"):
            judge_runs.start(labeler, choice="all", most=1, by=None)
        with pytest.raises(Refused, match=f"Run {run.pk} judges with the present settings"):
            judges.save_prompt(labeler, PromptTexts(rubric="Another."), by=None)
        # After it was paused the prompt may change; then it can't go on with another one than it began with.
        TrainingRun.objects.filter(pk=run.pk).update(status="cancelled")
        assert judges.save_prompt(labeler, PromptTexts(rubric="Another."), by=None)
        run.refresh_from_db()
        with pytest.raises(Refused, match="was changed since the run began"):
            judge_runs.rows_of(run)

    @pytest.mark.parametrize(("choice", "most"), [("all", 0), ("all", 5_001), ("some", 1), ("judged", 1)])
    def test_what_cannot_be_is_a_sentence(self, cast: Cast, labeler: AILabeler, choice: str, most: int) -> None:
        comparisons(cast, 1)
        with pytest.raises(Refused):
            judge_runs.start(labeler, choice=choice, most=most, by=None)

    def test_an_endpoint_that_the_site_has_no_more_is_a_sentence(
        self, cast: Cast, labeler: AILabeler, settings: Any
    ) -> None:
        comparisons(cast, 1)
        settings.HONE_AI_ENDPOINTS = {}
        with pytest.raises(Refused, match="no AI server named local"):
            judge_runs.start(labeler, choice="all", most=1, by=None)

    def test_hidden_checks_and_other_kinds_are_not_judged(self, cast: Cast, labeler: AILabeler) -> None:
        tasks = comparisons(cast, 4)
        for task, state in zip(tasks, ("gold", "exam", "withdrawn", "complete"), strict=True):
            Task.objects.filter(pk=task.pk).update(state=state)
        assert list(judge_runs.candidates(labeler, "all")) == [tasks[3]]


@pytest.mark.usefixtures("nothing_sent")
class TestVersions:
    def test_a_changed_prompt_is_a_new_version_to_be_measured(self, cast: Cast, labeler: AILabeler) -> None:
        AILabeler.objects.update(is_counted=True, counted_use_cases=["chat"], measures={"": {}})
        assert not judges.save_prompt(labeler, PromptTexts(), by=cast.manager)
        assert judges.save_prompt(labeler, PromptTexts(rubric="Shorter is better."), by=cast.manager)
        labeler.refresh_from_db()
        assert (labeler.version, labeler.is_counted, labeler.counted_use_cases, labeler.measures) == (2, False, [], {})
        assert list(JudgePrompt.objects.values_list("version", flat=True)) == [2, 1]
        assert AuditEvent.objects.get(verb="ai_labeler.prompt_changed").detail == {"version": 2}

    def test_another_served_model_is_a_new_version_and_a_budget_is_none(self, cast: Cast, labeler: AILabeler) -> None:
        saved(labeler, max_requests=5)
        labeler.refresh_from_db()
        assert labeler.version == 1
        saved(labeler, served_model="better")
        labeler.refresh_from_db()
        assert (labeler.version, labeler.judge.prompts.count()) == (2, 2)

    def test_a_new_bound_is_decided_anew(self, cast: Cast, labeler: AILabeler) -> None:
        AILabeler.objects.update(is_counted=True, counted_use_cases=["chat"])
        judges.save_settings(labeler, weight=0.5, least_agreement=0.9, least_tasks=2, config={}, by=cast.manager)
        labeler.refresh_from_db()
        assert (labeler.is_counted, labeler.weight) == (False, 0.5)


@pytest.mark.usefixtures("nothing_sent")
def test_a_reward_model_is_an_input_of_its_run(cast: Cast, base: ModelVersion, tiny_model: Path) -> None:
    reward = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder=tiny_model.name)
    labeler = judges.create(project=cast.project, name="Scores", reward_model=reward, by=None)
    comparisons(cast, 1)
    run = judge_runs.start(labeler, choice="all", most=1, by=None)
    files = RunFiles(run)
    files.make()
    arguments = run_command.prepare(run, files, heartbeat=lambda: None).arguments
    assert arguments[:3] == ["judge", "--model", str(tiny_model)]
    with pytest.raises(Refused, match="is no reward model"):
        judges.create(project=cast.project, name="Other", reward_model=base, by=None)


@pytest.mark.usefixtures("nothing_sent")
class TestPages:
    @pytest.fixture
    def client(self, cast: Cast) -> Client:
        client = Client()
        client.force_login(cast.manager)
        return client

    def post(self, client: Client, cast: Cast, name: str, labeler: AILabeler, **form: Any) -> tuple[Any, list[str]]:
        reply = client.post(reverse(f"rlhf:{name}", args=[cast.project.slug, labeler.pk]), form)
        return reply, [str(message) for message in get_messages(reply.wsgi_request)]

    def test_a_manager_creates_one_from_the_sites_servers(self, client: Client, cast: Cast, settings: Any) -> None:
        address = reverse("rlhf:ai_labelers", args=[cast.project.slug])
        settings.HONE_AI_ENDPOINTS = {}
        assert "HONE_AI_ENDPOINTS" in client.get(address).content.decode()
        settings.HONE_AI_ENDPOINTS = {"local": ("http://127.0.0.1:9/v1", "JUDGE_KEY")}
        page = client.get(address).content.decode()
        assert "local (http://127.0.0.1:9/v1)" in page
        assert "JUDGE_KEY" not in page
        create = reverse("rlhf:create_ai_labeler", args=[cast.project.slug])
        reply = client.post(create, {"name": "Mild judge", "model": "endpoint:local"})
        assert reply.status_code == 302
        labeler = AILabeler.objects.get()
        assert (labeler.name, labeler.judge.endpoint) == ("Mild judge", "local")
        reply = client.post(create, {"name": "Mild judge", "model": "endpoint:local"})
        assert reply.status_code == 400
        assert "of this name already" in reply.content.decode()
        assert client.post(create, {"name": "x", "model": "endpoint:http://evil"}).status_code == 400
        assert endpoints.known().keys() == {"local"}

    def test_it_is_started_edited_and_counted_from_its_page(
        self, client: Client, cast: Cast, labeler: AILabeler
    ) -> None:
        tasks = comparisons(cast, 8)
        _, said = self.post(client, cast, "start_judge_run", labeler, choice="all", most=8)
        run = TrainingRun.objects.get(stage="judge")
        assert said == [f"Run {run.pk} judges 8 tasks."]
        _, said = self.post(client, cast, "save_judge_prompt", labeler, instructions="i", rubric="r")
        assert "Wait until it ends, or pause it." in said[-1]
        TrainingRun.objects.filter(pk=run.pk).update(status="succeeded")
        _, said = self.post(client, cast, "count_ai_labeler", labeler, count="1")
        assert said[-1].startswith("In no use case")
        from tests.annotate.labeling.test_ai_judgments import by_ai

        for task in tasks:
            judged(task, cast.labeler, "A > B")
            by_ai(labeler, task, "A > B")
        _, said = self.post(client, cast, "count_ai_labeler", labeler, count="1")
        assert said[-1:] == ["New snapshots have its judgments of 1 use case."]
        page = client.get(reverse("rlhf:ai_labeler", args=[cast.project.slug, labeler.pk])).content.decode()
        assert "Stop counting" in page
        table = client.get(reverse("rlhf:ai_agreement_table", args=[cast.project.slug, labeler.pk]))
        lines = table.content.decode("utf-8-sig").splitlines()
        assert lines[0].startswith("use_case,tasks,agreement,agreement_low,agreement_high,people")
        assert lines[1].startswith("all,8,1")
        _, said = self.post(client, cast, "count_ai_labeler", labeler, count="0")
        assert said[-1:] == ["New snapshots leave its judgments out."]
        reply, _ = self.post(client, cast, "save_judge_settings", labeler, least_agreement=2)
        assert reply.status_code == 400
        task_page = client.get(reverse("annotate:manage_task", args=[cast.project.slug, tasks[0].pk])).content.decode()
        assert '<span class="badge">AI</span>' in task_page

    def test_a_researcher_looks_on_and_starts(self, cast: Cast, labeler: AILabeler) -> None:
        client = Client()
        client.force_login(cast.researcher)
        page = client.get(reverse("rlhf:ai_labeler", args=[cast.project.slug, labeler.pk])).content.decode()
        assert "Let its judgments count" not in page
        assert "Save as a new version" not in page
        assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
