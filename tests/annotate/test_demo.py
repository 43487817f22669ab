"""The demo project: complete at once, made once, and its files as the contract has them."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from annotate import demo
from annotate.data.imports import ImportReport, import_file
from annotate.demo import demo_project
from annotate.demo.demo_project import create
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import Membership, Project, Prompt, Response, Task, User

KINDS = set(Prompt.Kind.values)
USE_CASES = set(Prompt.UseCase.values)


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_prompts_cover_every_kind_and_use_case_and_none_is_there_twice() -> None:
    english, chinese = rows(demo.PROMPTS), rows(demo.PROMPTS_ZH)
    assert len(english) >= 240
    assert len(chinese) == 20
    assert {row["kind"] for row in english} == KINDS
    assert {row["use_case"] for row in english} == USE_CASES
    assert {row["lang"] for row in english} == {"en"}
    assert {row["lang"] for row in chinese} == {"zh"}
    for key in ("id", "prompt"):
        assert max(Counter(json.dumps(row[key]) for row in english + chinese).values()) == 1


def test_responses_are_four_a_prompt_of_the_demo_and_record_how_they_were_sampled() -> None:
    known = {row["id"]: row["prompt"] for row in rows(demo.PROMPTS)}
    sampled = rows(demo.RESPONSES)
    assert len(sampled) == 40
    assert demo.RESPONSES.stat().st_size < 300_000
    for row in sampled:
        assert row["prompt"] == known[row["id"]]
        assert len(row["responses"]) == 4
        assert row["seed"] == sampled[0]["seed"]
        assert row["sampling"] == sampled[0]["sampling"]
        assert {response["model"] for response in row["responses"]} == {"smollm2-135m-instruct"}
        assert {response["finish_reason"] for response in row["responses"]} <= {"stop", "length"}


@pytest.mark.django_db
def test_the_project_has_people_prompts_guidelines_rubric_and_a_queue_for_both_labelers() -> None:
    made = create()
    project = made.project
    assert list(made.passwords) == ["manager", "labeler1", "labeler2"]
    assert project.prompts.count() == len(rows(demo.PROMPTS))
    assert project.tasks.filter(state=Task.State.OPEN, judgments_wanted=2).count() == 40
    assert project.guidelines.text.startswith("# How to rank")
    assert [flag["name"] for flag in project.rubric.flags] == ["misses_the_task", "made_up", "harmful"]
    roles = Membership.objects.filter(project=project).values_list("user__username", "role")
    assert sorted(roles) == [("labeler1", "labeler"), ("labeler2", "labeler"), ("manager", "manager")]
    for username, password in made.passwords.items():
        user = User.objects.get(username=username)
        assert user.check_password(password)
        assert user.must_change_password
    assert set(Response.objects.values_list("finish_reason", flat=True)) == {"eos", "length"}
    labeler = User.objects.get(username="labeler1")
    assert len(queue.claim_next(labeler=labeler, project=project).presentation) == 4


@pytest.mark.django_db
def test_passwords_are_printed_once_and_a_second_call_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_demo")
    printed = capsys.readouterr().out
    for username in ("manager", "labeler1", "labeler2"):
        (password,) = re.findall(rf"^ +{username} +(\S+) ", printed, flags=re.MULTILINE)
        assert User.objects.get(username=username).check_password(password)
    before = [model.objects.count() for model in (User, Project, Prompt, Task)]
    hashes = set(User.objects.values_list("password", flat=True))

    call_command("create_demo")

    assert capsys.readouterr().out == "The demo project is there already (40 tasks); nothing was changed.\n"
    assert [model.objects.count() for model in (User, Project, Prompt, Task)] == before
    assert set(User.objects.values_list("password", flat=True)) == hashes


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_one_goes_on_and_nobody_signs_in_before_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are imported outside of any transaction: the lock on the database is for others too."""

    def interrupted(*, path: Path, **values: Any) -> ImportReport:
        assert not connection.in_atomic_block
        if path == demo.RESPONSES:
            raise KeyboardInterrupt
        return import_file(path=path, **values)

    monkeypatch.setattr(demo_project, "import_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create()
    assert not any(user.has_usable_password() for user in User.objects.all())
    monkeypatch.undo()
    made = create()
    assert list(made.passwords) == ["manager", "labeler1", "labeler2"]
    assert all(User.objects.get(username=name).check_password(word) for name, word in made.passwords.items())
    assert made.project.prompts.count() == len(rows(demo.PROMPTS))
    assert made.project.tasks.count() == 40
    assert create().passwords == {}


@pytest.mark.django_db
@pytest.mark.parametrize("username", ["Manager", "labeler2"])
def test_an_account_of_somebody_else_is_left_alone(username: str) -> None:
    User.objects.create_user(username, password="a long pass phrase")
    with pytest.raises(CommandError, match="so the demo project can't be made"):
        call_command("create_demo")
    assert User.objects.count() == 1
    assert not User.objects.get().is_superuser
    assert not Project.objects.exists()


@pytest.mark.django_db
def test_a_broken_prompts_file_makes_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "prompts.jsonl"
    broken.write_text('{"id": "1", "prompt": [{"role": "user", "content": "Hello"}]}\n{"id": "2", "prompt": 3}\n')
    with pytest.raises(Refused, match=r"prompts\.jsonl, line 2"):
        create(prompts=broken, responses=None)
    assert not User.objects.exists()
    assert not Project.objects.exists()
