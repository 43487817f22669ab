"""The other kinds of task without a browser: pages, plain forms and scripts; and where managers make them."""

import re
import uuid
from typing import Any

import pytest
from django.test import Client

from annotate.errors import Refused
from annotate.labeling import exam, queue, requested_tasks
from annotate.labeling.chats import live_responses
from annotate.labeling.chats.live_responses import ResponseStatus
from annotate.labeling.few_shot import FewShot
from annotate.labeling.queue import leases
from annotate.models import (
    Assignment,
    Demonstration,
    ExamAnswer,
    ExamAttempt,
    Judgment,
    Project,
    Prompt,
    ResponseRequest,
    Task,
)
from annotate.people.projects import edit_project
from annotate.quality import project_figures
from tests.factories.cast import (
    Cast,
    judge,
    key_of,
    keys_of,
    make_comparison,
    make_prompt,
    make_responses,
    response_ids,
)
from tests.harness.markup import markup

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
CRITERIA = [{"name": name, "label": name.title(), "min": 0, "max": 4} for name in ("help", "truth")]
FEW_SHOT = FewShot(instruction="Name the capital.", pairs=(("France", "Paris"), ("Peru", "Lima")), query="Japan")


@pytest.fixture
def labeler(cast: Cast, client: Client) -> Client:
    client.force_login(cast.labeler)
    return client


@pytest.fixture
def manager(cast: Cast, client: Client) -> Client:
    client.force_login(cast.manager)
    return client


def hold(cast: Cast, kind: str, prompt: Prompt | None = None, **values: Any) -> Assignment:
    """A task of a kind in the labeler's hands."""
    edit_project(project=cast.project, by=cast.manager, task_kinds=[kind], criteria=CRITERIA)
    task = Task.objects.create(project=cast.project, kind=kind, prompt=prompt, **values)
    if kind == Task.Kind.RATE and prompt is not None:
        task.task_responses.create(response=prompt.responses.get(), number=0)
    leases.raise_epoch(project_id=cast.project.pk)
    assignment = queue.claim_next(labeler=cast.labeler, project=Project.objects.get(pk=cast.project.pk))
    assert assignment is not None
    return assignment


def url(assignment: Assignment, action: str) -> str:
    return f"/p/kindness/work/{assignment.pk}/{action}"


def page_of(client: Client) -> str:
    return client.get("/p/kindness/work/").content.decode()


def fields(**values: Any) -> dict[str, Any]:
    return {"client_id": str(uuid.uuid4()), **values}


class TestDemonstrating:
    def test_shows_the_prompt_the_brief_and_the_draft(self, cast: Cast, labeler: Client) -> None:
        task_instructions = {"instructions": "As a *teacher*."}
        assignment = hold(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project), task_instructions=task_instructions)
        labeler.post(url(assignment, "draft"), {"text": "So far <b>", "client_id": "x", "shown": "1"})
        assignment.refresh_from_db()
        assert assignment.draft == {"text": ["So far <b>"]}
        page = page_of(labeler)
        assert "How do I boil an egg?" in page
        assert "As a <em>teacher</em>." in page
        assert "So far &lt;b&gt;</textarea>" in page

    def test_hands_in_as_a_plain_form_and_goes_on(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project))
        reply = labeler.post(url(assignment, "submit"), fields(text="Eight minutes."))
        assert reply.status_code == 302
        assert Demonstration.objects.get().response.text == "Eight minutes."

    def test_refused_comes_back_as_it_was(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project))
        reply = labeler.post(url(assignment, "submit"), fields(text=" ", comment="Hard to say"))
        assert reply.status_code == 400
        assert "Write the response first" in reply.content.decode()
        assert "Hard to say</textarea>" in reply.content.decode()

    def test_of_few_shots_shows_pairs_and_takes_changed_ones(self, cast: Cast, labeler: Client) -> None:
        prompt = Prompt.objects.create(project=cast.project, messages=FEW_SHOT.messages, kind="few_shot")
        assignment = hold(cast, Task.Kind.DEMONSTRATE, prompt)
        page = page_of(labeler)
        assert markup(page).count("<li><div") == 2
        assert re.findall(r'name="(?:query|response)-\d" [^>]*>\n([^<]+)<', page) == ["France", "Paris", "Peru", "Lima"]
        assert "Query" in page
        shown = {"query-0": "France", "response-0": "Paris", "query-1": "Chad", "response-1": "N'Djamena"}
        labeler.post(url(assignment, "submit"), fields(text="Tokyo", **shown))
        changed = Demonstration.objects.get().prompt
        assert FewShot.of(changed.messages) == FewShot(
            instruction="Name the capital.", pairs=(("France", "Paris"), ("Chad", "N'Djamena")), query="Japan"
        )

    def test_of_an_upsetting_prompt_covers_it(self, cast: Cast, labeler: Client) -> None:
        for messages, kind in ((FEW_SHOT.messages, "few_shot"), ([{"role": "user", "content": "Cruel?"}], "plain")):
            prompt = Prompt.objects.create(project=cast.project, messages=messages, kind=kind, sensitive=True)
            assignment = hold(cast, Task.Kind.DEMONSTRATE, prompt)
            assert '<details class="veil"><summary>' in markup(page_of(labeler))
            queue.skip(assignment_id=assignment.pk, labeler=cast.labeler)

    def test_afterwards_is_changed_under_my_work(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project))
        labeler.post(url(assignment, "submit"), fields(text="First."))
        assert "First.</textarea>" in labeler.get(url(assignment, "")).content.decode()
        labeler.post(url(assignment, "submit"), fields(text="Second."))
        assert Demonstration.objects.get(withdrawn_at=None).response.text == "Second."

    def test_undone_is_on_the_page_again(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project))
        labeler.post(url(assignment, "submit"), fields(text="First."), headers=HTMX)
        reply = labeler.post(url(assignment, "undo"), headers=HTMX)
        assert "First.</textarea>" in reply.content.decode()
        assert not Demonstration.objects.filter(withdrawn_at=None).exists()


class TestWritingAPrompt:
    def test_asks_for_what_the_brief_says(self, cast: Cast, labeler: Client) -> None:
        task_instructions = {"instructions": "A cookery site.", "kind": "user_based", "use_case": "brainstorming"}
        assignment = hold(cast, Task.Kind.WRITE_PROMPT, task_instructions=task_instructions)
        page = markup(page_of(labeler))
        assert 'name="kind" value="user_based" checked' in page
        assert '<option value="brainstorming" selected>' in page
        assert 'name="language" maxlength="10" value="en"' in page
        entered = fields(kind="user_based", use_case="brainstorming", language="en", text="What goes with beans?")
        labeler.post(url(assignment, "submit"), entered)
        prompt = Prompt.objects.get()
        assert (prompt.question, prompt.kind, prompt.use_case) == (
            "What goes with beans?",
            "user_based",
            "brainstorming",
        )

    def test_of_few_shots_takes_the_rows_that_are_filled(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast, Task.Kind.WRITE_PROMPT)
        rows = {"query-0": "France", "response-0": "Paris", "query-1": "", "response-1": "", "query-7": "Peru"}
        entered = fields(kind="few_shot", instruction="Name the capital.", text="Japan", **rows)
        refused = labeler.post(url(assignment, "submit"), entered)
        assert "both its query and its response" in refused.content.decode()
        labeler.post(url(assignment, "submit"), entered | {"response-7": "Lima"})
        assert FewShot.of(Prompt.objects.get().messages) == FEW_SHOT
        again = labeler.get(url(assignment, "")).content.decode()
        assert re.findall(r'name="(?:query|response)-\d" [^>]*>\n([^<]+)<', again) == [
            "France",
            "Paris",
            "Peru",
            "Lima",
        ]
        assert "Japan</textarea>" in again


class TestRating:
    def test_shows_one_response_and_stores_its_ratings(self, cast: Cast, labeler: Client) -> None:
        prompt = make_prompt(cast.project)
        (response,) = make_responses(prompt, "In water.")
        assignment = hold(cast, Task.Kind.RATE, prompt)
        page = page_of(labeler)
        assert "a-model" not in page
        assert f'name="rating-{key_of(assignment, response.pk)}-help"' in page
        assert "rank-" not in page
        assert 'name="all_unacceptable"' not in page
        ratings = {f"rating-{key_of(assignment, response.pk)}-help": "3"}
        refused = labeler.post(url(assignment, "submit"), fields(**ratings))
        assert "Still to rate: Truth." in refused.content.decode()
        labeler.post(
            url(assignment, "submit"), fields(**ratings, **{f"rating-{key_of(assignment, response.pk)}-truth": "0"})
        )
        judgment = Judgment.objects.get()
        assert judgment.latest is not None
        assert judgment.latest.ratings == {str(response.pk): {"help": 3, "truth": 0}}


class TestAChat:
    def start(self, cast: Cast) -> Assignment:
        return hold(cast, Task.Kind.CHAT, make_prompt(cast.project))

    def action(self, client: Client, assignment: Assignment, after: int, **values: Any) -> Any:
        return client.post(url(assignment, "chat"), {"after": str(after), **values})

    def generate_all(self, *texts: str) -> list[int]:
        request = ResponseRequest.objects.latest("pk")
        request.responses.set(make_responses(request.prompt, *texts))
        ResponseRequest.objects.filter(pk=request.pk).update(state="fulfilled")
        return list(request.responses.order_by("pk").values_list("pk", flat=True))

    @pytest.fixture
    def model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            live_responses, "_status_sources", [lambda *_: ResponseStatus(is_available=True, message="")]
        )

    def test_without_a_model_is_written(self, cast: Cast, labeler: Client) -> None:
        assignment = self.start(cast)
        assert "no worker is running" in page_of(labeler)
        assert self.action(labeler, assignment, 0, act="write", text="Eight minutes.").status_code == 302
        self.action(labeler, assignment, 1, act="say", text="And soft?")
        assert not ResponseRequest.objects.exists()
        self.action(labeler, assignment, 2, act="write", text="Five.")
        reply = labeler.post(url(assignment, "submit"), fields())
        assert reply.status_code == 302
        assert Demonstration.objects.count() == 2

    def test_with_a_model_is_chosen_edited_and_goes_on_by_itself(
        self, cast: Cast, labeler: Client, model: None
    ) -> None:
        assignment = self.start(cast)
        assert "Request 4 responses from the model" in page_of(labeler)
        self.action(labeler, assignment, 0, act="ask", text="")
        first, second = self.generate_all("Eight.", "Ask a <script>.")
        candidates = labeler.get(url(assignment, "candidates"), headers=HTMX).content.decode()
        assert candidates.count('name="pick"') == 2
        assert "<script>" not in candidates
        assert "a-model" not in candidates
        self.action(labeler, assignment, 0, pick=key_of(assignment, first), text="")
        # What the user says next asks for responses at once.
        self.action(labeler, assignment, 1, act="say", text="And soft?")
        third, _ = self.generate_all("Five.", "Six.")
        edited = self.action(labeler, assignment, 2, edit=key_of(assignment, third), text="").content.decode()
        assert "Five.</textarea>" in edited
        assert f'name="edited_from" value="{key_of(assignment, third)}"' in edited
        self.action(labeler, assignment, 2, act="write", text="Five minutes.", edited_from=key_of(assignment, third))
        labeler.post(url(assignment, "submit"), fields())
        chosen = Judgment.objects.get(task__kind="compare").latest
        assert chosen is not None
        assert chosen.tiers == [[first], [second]]
        assert Demonstration.objects.latest("pk").response.edited_from_id == third

    def test_hides_names_of_models_wherever_it_shows_their_responses(
        self, cast: Cast, labeler: Client, model: None
    ) -> None:
        """Offered, opened to be edited and left as it was shown, chosen, and edited."""
        edit_project(project=cast.project, by=cast.manager, mask_model_names=True)
        assignment = self.start(cast)
        said, pages = "I am ChatGPT, made by OpenAI. Eight.", []
        for after, edit in ((0, lambda text: text), (2, lambda text: text.replace("Eight", "Nine"))):
            self.action(labeler, assignment, after, act="ask", text="")
            first, _second = self.generate_all(said, "Seven.")
            pages.append(labeler.get(url(assignment, "candidates"), headers=HTMX).content.decode())
            key = key_of(assignment, first)
            box = self.action(labeler, assignment, after, edit=key).content.decode()
            shown = re.search(r"<textarea[^>]*>\n([^<]*)</textarea>", box)
            assert shown is not None
            assert shown[1] == "I am ▇▇▇, made by ▇▇▇. Eight."
            self.action(labeler, assignment, after, act="write", text=edit(shown[1]), edited_from=key)
            self.action(labeler, assignment, after + 1, act="say", text="And now?")
            pages += [box, page_of(labeler)]
        assert [turn.text for turn in assignment.chat_turns.filter(role="assistant")] == [
            said,
            said.replace("Eight", "Nine"),
        ]
        assert [bool(turn.offered) for turn in assignment.chat_turns.filter(role="assistant")] == [True, False]
        assert "I am ▇▇▇, made by ▇▇▇. Nine." in pages[-1]
        assert not any(name in page for page in pages for name in ("ChatGPT", "OpenAI"))

    def test_says_how_it_stands_while_responses_are_on_their_way(
        self, cast: Cast, labeler: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting = ResponseStatus(is_available=True, message="The model is responding.", progress=0.25)
        monkeypatch.setattr(live_responses, "_status_sources", [lambda *_: waiting])
        assignment = self.start(cast)
        self.action(labeler, assignment, 0, act="ask", text="")
        candidates = labeler.get(url(assignment, "candidates"), headers=HTMX).content.decode()
        assert 'hx-trigger="every 1s"' in candidates
        assert 'value="0.250"' in candidates
        self.generate_all("Eight.")
        assert "every 1s" not in labeler.get(url(assignment, "candidates"), headers=HTMX).content.decode()

    def test_keeps_what_is_in_the_box(self, cast: Cast, labeler: Client, model: None) -> None:
        assignment = self.start(cast)
        asked = self.action(labeler, assignment, 0, act="ask", text="My own begins")
        assert "My own begins</textarea>" in asked.content.decode()
        (candidate,) = self.generate_all("Eight.")
        refused = self.action(labeler, assignment, 0, edit=key_of(assignment, candidate), text="My own begins")
        assert refused.status_code == 409
        assert "My own begins</textarea>" in refused.content.decode()
        handed_in = labeler.post(url(assignment, "submit"), fields(text="My own begins"))
        assert "isn&#x27;t part of the chat yet" in handed_in.content.decode()

    @pytest.mark.parametrize(
        "values", [{"act": "sing"}, {"act": "say", "after": "x"}, {"pick": "1"}, {"edit": "1"}, {"pick": "one"}, {}]
    )
    def test_takes_no_other_actions(self, cast: Cast, labeler: Client, values: dict[str, str]) -> None:
        assignment = self.start(cast)
        assert labeler.post(url(assignment, "chat"), {"after": "0", **values}).status_code == 400
        assert not assignment.chat_turns.exists()

    def test_of_somebody_else_is_his(self, cast: Cast, client: Client) -> None:
        assignment = self.start(cast)
        client.force_login(cast.second_labeler)
        assert self.action(client, assignment, 0, act="write", text="Mine.").status_code == 403
        assert client.get(url(assignment, "candidates")).status_code == 403
        client.force_login(cast.outsider)
        assert self.action(client, assignment, 0, act="write", text="Mine.").status_code == 404
        elsewhere = url(assignment, "chat").replace("kindness", cast.other_project.slug)
        assert client.post(elsewhere, {"after": "0", "act": "write", "text": "Mine."}).status_code == 404
        assert not assignment.chat_turns.exists()


def test_a_preview_formats_and_can_do_nothing(cast: Cast, labeler: Client) -> None:
    reply = labeler.post("/p/kindness/work/preview", {"text": "**Bold** <script>alert(1)</script>"})
    assert "<strong>Bold</strong>" in reply.content.decode()
    assert "<script>" not in reply.content.decode()
    assert labeler.post("/p/kindness/work/preview", {"text": " "}).content == b""
    assert labeler.post("/p/kindness/work/preview", {"text": "a" * 100_001}).status_code == 400


class TestTasksPage:
    def add(self, manager: Client, **values: str) -> Any:
        entered = {"kind": "demonstrate", "count": "2", "judgments": "1", "instructions": ""}
        return manager.post("/p/kindness/tasks/", entered | values)

    def test_makes_tasks_of_prompts_once_each(self, cast: Cast, manager: Client) -> None:
        for number in range(3):
            make_prompt(cast.project, f"Question {number}?")
        assert self.add(manager, instructions=" Be *brief*. ", judgments="2").status_code == 302
        first, _second = Task.objects.filter(kind="demonstrate")
        assert (first.judgments_wanted, first.slots_free, first.task_instructions) == (
            2,
            2,
            {"instructions": " Be *brief*. "},
        )
        self.add(manager)
        assert Task.objects.filter(kind="demonstrate").values("prompt").distinct().count() == 3
        refused = self.add(manager)
        assert refused.status_code == 400
        assert "nothing left" in refused.content.decode()

    def test_says_when_labelers_do_not_get_the_kind_and_switches_it_on(self, cast: Cast, manager: Client) -> None:
        make_prompt(cast.project)
        page = manager.get(self.add(manager)["Location"]).content.decode()
        assert "1 task is in the queue." in page
        assert "switch it on" in page
        manager.post("/p/kindness/tasks/kinds", {"task_kinds": ["demonstrate", "chat"]})
        assert Project.objects.get(slug="kindness").task_kinds == ["demonstrate", "chat"]
        refused = manager.post("/p/kindness/tasks/kinds", {})
        assert "at least one kind" in refused.content.decode()

    def test_makes_prompts_to_write_ratings_and_chats(self, cast: Cast, manager: Client) -> None:
        make_comparison(cast.project)
        edit_project(project=cast.project, by=cast.manager, criteria=CRITERIA)
        self.add(manager, kind="rate", count="3")
        self.add(manager, kind="chat")
        self.add(manager, kind="write_prompt", count="4", prompt_kind="few_shot", use_case="chat")
        counts = {
            row.kind: row.open for row in project_figures.kind_counts(cast.project, project_figures.count(cast.project))
        }
        assert counts == {"compare": 1, "rate": 3, "chat": 1, "write_prompt": 4, "demonstrate": 0}
        assert Task.objects.filter(kind="write_prompt").first().task_instructions == {
            "kind": "few_shot",
            "use_case": "chat",
        }
        assert Task.objects.filter(kind="rate").values("responses").distinct().count() == 3

    def test_refuses_to_rate_by_no_rubric(self, cast: Cast, manager: Client) -> None:
        make_comparison(cast.project)
        assert "no criteria yet" in self.add(manager, kind="rate").content.decode()

    @pytest.mark.parametrize(
        "values", [{"kind": "compare"}, {"count": "0"}, {"count": "9999"}, {"judgments": "0"}, {"split": "nowhere"}]
    )
    def test_refuses_what_the_page_does_not_offer(self, cast: Cast, manager: Client, values: dict[str, str]) -> None:
        make_prompt(cast.project)
        assert self.add(manager, **values).status_code == 400
        assert not Task.objects.exists()

    def test_withdraws_open_tasks_and_puts_them_back(self, cast: Cast, manager: Client) -> None:
        make_comparison(cast.project)
        held = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert held is not None
        manager.post("/p/kindness/tasks/withdraw", {"kind": "compare"})
        assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
        # What was begun is taken all the same.
        judge(held, [[key] for key in held.presentation])
        make_comparison(cast.project, "Another?")
        requested_tasks.withdraw(project=cast.project, by=cast.manager, kind="compare")
        manager.post("/p/kindness/tasks/withdraw", {"kind": "compare", "restore": "1"})
        assert queue.claim_next(labeler=cast.second_labeler, project=cast.project) is not None
        assert manager.post("/p/kindness/tasks/withdraw", {"kind": "x"}).status_code == 400

    def test_is_a_managers_alone(self, cast: Cast) -> None:
        for action in (requested_tasks.withdraw, requested_tasks.restore):
            with pytest.raises(Refused):
                action(project=cast.project, by=cast.researcher, kind="compare")
        with pytest.raises(Refused):
            requested_tasks.add(project=cast.project, by=cast.outsider, kind="write_prompt", count=1)


class TestTheExamsPages:
    @pytest.fixture
    def items(self, cast: Cast) -> None:
        for number in range(2):
            task = make_comparison(cast.project, f"Known {number}?")
            Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
            exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager)
        make_comparison(cast.project, "Live?")
        edit_project(project=cast.project, by=cast.manager, exam_threshold=0.75, exam_attempts=1)

    def ranks(self, item: ExamAnswer, *, well: bool) -> dict[str, str]:
        order = [key for tier in item.gold_tiers for key in tier]
        order = order if well else order[::-1]
        return fields(**{f"rank-{key_of(item, key)}": str(order.index(key) + 1) for key in item.presentation})

    def take(self, client: Client, *, well: bool, **options: Any) -> Any:
        client.post("/p/kindness/exam/start")
        reply = None
        for _ in range(2):
            attempt = ExamAttempt.objects.latest("pk")
            item = exam.current(attempt)
            assert item is not None
            assert f'action="/p/kindness/exam/{item.pk}/submit"' in client.get("/p/kindness/exam/").content.decode()
            reply = client.post(f"/p/kindness/exam/{item.pk}/submit", self.ranks(item, well=well), **options)
        return reply

    def test_gate_work_until_passed(self, cast: Cast, labeler: Client, items: None) -> None:
        gate = page_of(labeler)
        assert "First a short exam" in gate
        assert "Live?" not in gate
        self.take(labeler, well=True)
        result = labeler.get("/p/kindness/exam/").content.decode()
        assert "Passed" in result
        assert "100%" in result
        assert "<span>6 of 6 pairs</span>" in markup(result)
        assert "Known order:" in result
        assert "Live?" in page_of(labeler)

    def test_hide_names_of_models_in_the_result_too(self, cast: Cast, labeler: Client) -> None:
        for number in range(2):
            task = make_comparison(cast.project, f"Known {number}?", ("I am ChatGPT. In water.", "Slowly."))
            Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
            exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager)
        edit_project(project=cast.project, by=cast.manager, exam_threshold=0.75, mask_model_names=True)
        self.take(labeler, well=True)
        result = labeler.get("/p/kindness/exam/").content.decode()
        assert "I am ▇▇▇. In water." in result
        assert "ChatGPT" not in result

    def test_replies_to_scripts_with_the_next_item_and_then_the_result(
        self, cast: Cast, labeler: Client, items: None
    ) -> None:
        reply = self.take(labeler, well=False, headers=HTMX)
        assert reply.status_code == 200
        assert reply["HX-Redirect"] == "/p/kindness/exam/"
        result = labeler.get("/p/kindness/exam/").content.decode()
        assert "Not passed yet" in result
        assert "used all attempts" in result
        assert "Known order:" not in result  # a manager can give another attempt
        assert "First a short exam" in page_of(labeler)

    def test_hide_known_orders_while_an_attempt_is_left(self, cast: Cast, labeler: Client, items: None) -> None:
        edit_project(project=cast.project, by=cast.manager, exam_attempts=2)
        self.take(labeler, well=False)
        result = labeler.get("/p/kindness/exam/").content.decode()
        assert "Not passed yet" in result
        assert " of 12 pairs" not in result
        assert " of 6 pairs" not in result
        assert "Known order:" not in result

    def test_keep_drafts_and_refuse_what_is_no_order(self, cast: Cast, labeler: Client, items: None) -> None:
        labeler.post("/p/kindness/exam/start")
        item = exam.current(ExamAttempt.objects.get())
        assert item is not None
        rank = f"rank-{keys_of(item)[0]}"
        kept = labeler.post(f"/p/kindness/exam/{item.pk}/draft", {rank: "2", "draft_version": "1"}).json()
        assert (kept["kept"], kept["version"]) == (True, 1)
        assert labeler.get(f"/p/kindness/exam/{item.pk}/draft").json()["draft"] == {rank: ["2"]}
        refused = labeler.post(f"/p/kindness/exam/{item.pk}/submit", fields(**{rank: "1"}))
        assert refused.status_code == 400
        assert "Rank at least two responses" in refused.content.decode()

    def test_are_not_for_others_to_take(self, cast: Cast, labeler: Client, client: Client, items: None) -> None:
        labeler.post("/p/kindness/exam/start")
        item = exam.current(ExamAttempt.objects.get())
        assert item is not None
        for user, status in ((cast.second_labeler, 403), (cast.researcher, 403), (cast.outsider, 404)):
            client.force_login(user)
            for action in ("submit", "draft"):
                path = f"/p/kindness/exam/{item.pk}/{action}"
                assert client.post(path, self.ranks(item, well=True)).status_code == status
        assert not ExamAnswer.objects.exclude(answered_at=None).exists()

    def test_let_a_manager_set_it_and_see_who_stands_where(self, cast: Cast, manager: Client) -> None:
        task = make_comparison(cast.project)
        assignment = queue.claim_next(labeler=cast.manager, project=cast.project)
        assert assignment is not None
        judge(assignment, [[key] for key in response_ids(task)])
        page = manager.get("/p/kindness/exam/settings/").content.decode()
        assert "Ask it, by my order" in page
        manager.post(f"/p/kindness/exam/items/{task.pk}", {"judgment": "1"})
        assert Task.objects.get(pk=task.pk).state == "exam"
        manager.post("/p/kindness/exam/settings/", {"threshold": "80", "attempts": "3"})
        project = Project.objects.get(slug="kindness")
        assert (project.exam_threshold, project.exam_attempts) == (0.8, 3)
        assert 'value="80"' in manager.get("/p/kindness/exam/settings/").content.decode()
        manager.post(f"/p/kindness/exam/people/{cast.labeler.pk}", {"waive": "1"})
        assert "waived" in manager.get("/p/kindness/exam/settings/").content.decode()
        manager.post(f"/p/kindness/exam/people/{cast.labeler.pk}", {"annul": "1"})
        assert "waived" not in manager.get("/p/kindness/exam/settings/").content.decode()
        assert manager.post(f"/p/kindness/exam/people/{cast.outsider.pk}", {"waive": "1"}).status_code == 404
        manager.post(f"/p/kindness/exam/items/{task.pk}", {"remove": "1"})
        assert Task.objects.get(pk=task.pk).state == "complete"
        assert manager.post("/p/kindness/exam/settings/", {"threshold": "101", "attempts": "3"}).status_code == 400


def test_a_manager_marks_a_prompt_and_unmarks_it(cast: Cast, manager: Client) -> None:
    prompt = make_prompt(cast.project)
    for sensitive, button in (("yes", "show it without a warning"), ("no", "cover it with a warning")):
        page = manager.post(f"/p/kindness/prompts/{prompt.pk}/mark", {"sensitive": sensitive}, follow=True)
        assert Prompt.objects.get(pk=prompt.pk).sensitive == (sensitive == "yes")
        assert button in page.content.decode()
    other = make_prompt(cast.other_project)
    assert manager.post(f"/p/kindness/prompts/{other.pk}/mark", {"sensitive": "yes"}).status_code == 404
