"""docs/labeling.md: the tests it names are collected, and each page, key, setting and number in it is the product's."""

import ast
import json
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from annotate import navigation
from annotate.data.imports import import_file
from annotate.forms.rubric import CriteriaField
from annotate.labeling import queue, task_kinds
from annotate.models import Membership, Project, Prompt, Snapshot
from annotate.quality.labeler_progress import FEWEST_TASKS
from config import settings as settings_module
from rlhf.models import TrainingRun
from tests.factories.cast import Cast, make_cast, make_comparison

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "labeling.md").read_text(encoding="utf-8")
TEXT = re.sub(r"\s+", " ", PAGE)
NAMED_TESTS = re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)+)`", PAGE)
CODE = {token for token in re.findall(r"`([^`]+)`", PAGE) if not token.startswith("tests/")}


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def test_tests_are_named() -> None:
    assert len(NAMED_TESTS) >= 18


@pytest.mark.parametrize(("file", "names"), NAMED_TESTS, ids=lambda value: value.rpartition("::")[2])
def test_a_named_test_is_collected(file: str, names: str) -> None:
    """A function of that name stands where pytest collects it: in the module, or in the class that is named."""
    body: list[ast.stmt] = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    *classes, function = names.strip(":").split("::")
    for name in classes:
        (found,) = (node for node in body if isinstance(node, ast.ClassDef) and node.name == name)
        body = found.body
    (test,) = (
        node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
    )
    assert function.startswith("test_")
    marks = [ast.unparse(decorator) for decorator in test.decorator_list]
    assert not [mark for mark in marks if re.match(r"pytest\.mark\.(skip|xfail)\b", mark)]
    assert [node for node in ast.walk(test) if isinstance(node, ast.Assert | ast.With | ast.Call)]


def test_all_that_is_set_as_code_is_checked_here() -> None:
    assert {
        '"sensitive": true',
        "HONE_LIVE_DEVICE=cpu",
        "HONE_LIVE_IDLE",
        "live",
        "name | label | 1-7 | help | 7: Excellent; 1: Terrible",
        "ratings",
        "TIME_ZONE",
        "en",
        "en-GB",
        "manage.py change_tasks PROJECT",
        "--kind compare --language zh --priority 5",
        "--reserve ann",
        "--judgments 3",
    } == CODE


def test_many_tasks_are_changed_by_the_words_of_the_page(cast: Cast) -> None:
    task = make_comparison(cast.project)
    Prompt.objects.update(language="zh")
    call_command("change_tasks", "kindness", *["--kind", "compare", "--language", "zh", "--priority", "5"])
    call_command("change_tasks", "kindness", "--reserve", "labeler")
    call_command("change_tasks", "kindness", "--judgments", "1")
    task.refresh_from_db()
    assert (task.priority, task.reserved_for, task.judgments_wanted) == (5, cast.labeler, 1)


def test_a_language_is_read_by_its_primary_subtag(cast: Cast) -> None:
    assert settings.TIME_ZONE == "UTC"
    make_comparison(cast.project)
    Prompt.objects.update(language="en-GB")
    membership = cast.project.memberships.get(user=cast.labeler, role=Membership.Role.LABELER)
    membership.languages = ["en"]
    membership.save()
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is not None


def test_every_kind_of_task_has_a_row_and_the_table_has_no_other() -> None:
    table = PAGE.partition("## Kinds of task")[2].partition("\n\n")[2].partition("\n\n")[0]
    kinds = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert [kind.replace("write a prompt", "write_prompt") for kind in kinds] == task_kinds.names()


def test_as_many_responses_are_compared() -> None:
    assert f"ranks {Project.MIN_RESPONSES} to {Project.MAX_RESPONSES} " in TEXT


def test_a_criterion_is_written_like_that() -> None:
    (line,) = (token for token in CODE if "|" in token)
    assert CriteriaField().clean(line) == [
        {"name": "name", "label": "label", "min": 1, "max": 7, "help": "help"}
        | {"anchors": {"7": "Excellent", "1": "Terrible"}}
    ]


def test_the_settings_are_there_and_have_that_effect() -> None:
    source = Path(settings_module.__file__).read_text(encoding="utf-8")
    named = {token.partition("=")[0] for token in CODE if token.startswith("HONE_")}
    assert all(f'"{name}"' in source for name in named)
    assert settings.HONE_LIVE_IDLE == 15 * 60
    assert "a quarter of an hour (`HONE_LIVE_IDLE`)" in TEXT
    assert re.search(r'"HONE_LIVE_DEVICE", default="auto", choices=\[.*"cpu"', source)


def test_live_chats_have_a_queue_of_their_own() -> None:
    assert TrainingRun.LIVE_QUEUE == "live"


def test_the_export_is_a_kind_of_snapshot() -> None:
    assert "ratings" in Snapshot.Kind.values


def test_a_file_marks_a_prompt_as_upsetting(cast: Cast, tmp_path: Path) -> None:
    (key,) = (token for token in CODE if "sensitive" in token)
    row = {"prompt": [{"role": "user", "content": "Something cruel?"}]} | json.loads(f"{{{key}}}")
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    import_file(project=cast.project, path=tmp_path / "rows.jsonl", name="rows.jsonl", by=cast.manager)
    assert Prompt.objects.get().sensitive


def test_figures_of_agreement_begin_with_five_tasks() -> None:
    assert FEWEST_TASKS == 5
    assert "from five tasks on" in TEXT


def test_the_pages_are_called_so(cast: Cast, client: Client) -> None:
    """A manager has each page that is set in italics as a tab, or finds it from the page that is named with it."""
    client.force_login(cast.manager)
    tasks = client.get(reverse("annotate:tasks", args=["kindness"]))
    groups = navigation.groups_for(request=tasks.wsgi_request, project=cast.project)
    tabs = {str(tab.label) for group in groups for tab in group.tabs}
    assert {name for name in ("Tasks", "My work", "Runs") if f"*{name}*" in PAGE} <= tabs
    assert "(page *Tasks*, *Qualification exam*)" in TEXT
    content = tasks.content.decode()
    assert (
        f'<a class="button" href="{reverse("annotate:exam_settings", args=["kindness"])}">Qualification exam</a>'
        in content
    )
