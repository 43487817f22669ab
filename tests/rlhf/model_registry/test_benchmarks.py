"""A version measured on a file from its page: by a real process; and what is said of files that are none."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile

from annotate.artefacts.bucket import StorageAway
from annotate.errors import Refused
from models_core.modeling import loading
from models_core.rl.rewards.reward_models import RewardModels
from rlhf.model_registry import benchmarks
from rlhf.models import ModelVersion, TrainingRun
from rlhf.reports import model_card
from rlhf.runs.execution import run_command, supervisor
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.storage import run_artefacts
from tests.factories.cast import Cast
from tests.rlhf.conftest import assert_labeled
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing_sent")]

RIGHT = {"donotanswer": (2, 3), "math-prm": (1, 4), "hep-go": (1, 2)}
"""{subset: (pairs that the model orders rightly, all)}"""
PAIR = {"prompt": "Why?", "chosen": "Because.", "rejected": "No.", "subset": "mine"}
DEMONSTRATION = {"id": "1", "prompt": [{"role": "user", "content": "Why?"}], "response": "Because."}


def uploaded(*rows: Any, name: str = "rewardbench.jsonl") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, "".join(json.dumps(row) + "\n" for row in rows).encode())


@pytest.fixture
def reward(cast: Cast, tiny_model: Path) -> ModelVersion:
    folder = settings.HONE_DATA / "runs/7000/run/model"
    model = loading.new_reward_model(tiny_model, device=torch.device("cpu"), dtype=torch.float32, seed=0)
    loading.save_reward_model(folder, model, loading.load_tokenizer(tiny_model))
    return ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/7000/run/model")


def benchmark_rows(version: ModelVersion) -> list[dict[str, Any]]:
    """Pairs of which the model orders so many rightly as RIGHT says: by its scores, chosen is the better one or not."""
    model = RewardModels.load(
        str(settings.HONE_DATA / version.folder),
        device=torch.device("cpu"), dtype=torch.float32, max_length=1024, budget=8192,
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    for subset, (right, count) in RIGHT.items():
        for place in range(count):
            prompt, texts = f"Question {len(rows)}?", (f"Yes, {len(rows)}.", "No.")
            ((one, other),) = model.mean_scores([(({"role": "user", "content": prompt},), texts)])
            assert one is not None
            assert other is not None
            better, worse = texts if one > other else texts[::-1]
            chosen, rejected = (better, worse) if place < right else (worse, better)
            row = {"id": len(rows), "prompt": prompt, "chosen": chosen, "rejected": rejected, "subset": subset}
            rows.append(row)
    return rows


@pytest.mark.any_database
def test_a_reward_model_is_measured_and_its_pages_say_how_good_it_is(cast: Cast, reward: ModelVersion) -> None:
    client, file = as_user("researcher", cast), uploaded(*benchmark_rows(reward), name="folder\\..\\rewardbench.jsonl")
    reply = client.post(url(cast, "benchmark", reward.pk), {"file": file, "precision": "fp32", "max_length": "256"})
    run = TrainingRun.objects.get()
    assert reply["Location"] == url(cast, "run", run.pk)
    file.seek(0)
    assert run.options == {"file": "rewardbench.jsonl", "sha256": hashlib.sha256(file.read()).hexdigest()}
    assert run.config == {"precision": "fp32", "max_length": 256}
    assert [path.name for path in RunFiles(run).inputs.iterdir()] == ["rewardbench.jsonl"]
    assert not list((settings.HONE_DATA / "uploads").iterdir())
    page = client.get(url(cast, "model", reward.pk)).content.decode()
    assert "Queued" in page
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == ("succeeded", "")
    assert_labeled(run)
    mean = (2 / 3 + 1 / 4 + 1 / 2) / 3
    assert (run.result["accuracy"], run.result["subset_accuracy"]) == (pytest.approx(4 / 9), pytest.approx(mean))

    shown = " ".join(client.get(url(cast, "report", run.pk)).content.decode().split())
    assert "How good is <bdi>Reward model 1</bdi>?" in shown
    assert "on <bdi>rewardbench.jsonl</bdi>: rows 9, prompts 9, pairs of responses 9." in shown
    expected = {
        "donotanswer": "66.7%", "math-prm": "25.0%", "hep-go": "50.0%", "Safety": "66.7%", "Reasoning": "37.5%",
    }  # fmt: skip
    for name, share in expected.items():
        assert f'<bdi>{name}</bdi></th> <td class="number"> {share}' in shown
    report = json.loads(b"".join(client.get(url(cast, "report_file", run.pk)).streaming_content))
    assert report["subsets"]["mean"] == pytest.approx(mean)
    assert url(cast, "report", run.pk) in client.get(url(cast, "run", run.pk)).content.decode()

    page = " ".join(client.get(url(cast, "model", reward.pk)).content.decode().split())
    assert '<bdi>rewardbench.jsonl</bdi></th> <td class="number">9</td>' in page
    assert f'mean accuracy over subsets <span class="nowrap">{mean:.4g}</span>' in page
    assert f'accuracy <span class="nowrap">0.4444 ({run.result["accuracy_low"]:.4g} – ' in page
    assert url(cast, "report", run.pk) in page
    (line,) = model_card.card_of(reward).measured_on
    assert line[0] == "rewardbench.jsonl"
    assert line[1].startswith(f"mean accuracy over subsets {mean:.4g}, accuracy 0.4444 (")
    assert "## Measured on files" in model_card.card_of(reward).markdown()


@pytest.mark.any_database
def test_a_language_model_is_measured_on_demonstrations(cast: Cast, base: ModelVersion) -> None:
    client = as_user("manager", cast)
    form = {"file": uploaded(DEMONSTRATION, DEMONSTRATION), "num_generated": "1", "max_new_tokens": "2"}
    client.post(url(cast, "benchmark", base.pk), form | {"precision": "fp32"})
    run = TrainingRun.objects.get()
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error, run.result["demonstrations"]) == ("succeeded", "", 2)
    assert run.result["exact_match"] == 0.0
    assert_labeled(run)
    page = client.get(url(cast, "run", run.pk)).content.decode()
    assert url(cast, "report_file", run.pk) in page
    report = json.loads(b"".join(client.get(url(cast, "report_file", run.pk)).streaming_content))
    assert report["responses"]["rows"] == 1
    assert client.get(url(cast, "report", run.pk)).status_code == 404
    page = client.get(url(cast, "model", base.pk)).content.decode()
    assert f'perplexity <span class="nowrap">{run.result["perplexity"]:.4g}' in page


@pytest.mark.any_database
def test_a_file_that_is_broken_further_down_fails_the_run_with_its_line(cast: Cast, base: ModelVersion) -> None:
    client = as_user("manager", cast)
    broken = SimpleUploadedFile("rows.jsonl", json.dumps(DEMONSTRATION).encode() + b"\n{oops\n")
    client.post(url(cast, "benchmark", base.pk), {"file": broken})
    run = TrainingRun.objects.get()
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "failed"
    assert "rows.jsonl, line 2: not valid JSON" in run.error
    assert "rows.jsonl, line 2" in client.get(url(cast, "run", run.pk)).content.decode()
    assert "Failed" in client.get(url(cast, "model", base.pk)).content.decode()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.jsonl", b"", "rows.jsonl is empty."),
        ("rows.jsonl", b" \n\n", "rows.jsonl is empty."),
        ("rows.jsonl", b"hello\n", "rows.jsonl, line 1: not valid JSON"),
        ("rows.jsonl", b"\x1f\x8b\0\0", "is compressed by gzip"),
        ("rows.csv", b"a,b\n", "one of these kinds: .jsonl, .json, .txt, .jsonl.gz, .json.gz, .txt.gz."),
        ("rows.csv.gz", b"\x1f\x8b", "Choose a file of one of these kinds"),
        ("text.txt", b"Once upon a time.", "not on text"),
        ("rows.jsonl", json.dumps(DEMONSTRATION).encode(), "line 1: a reward model is measured on rankings"),
    ],
)  # fmt: skip
def test_what_a_reward_model_can_not_be_measured_on_is_said_at_once(
    cast: Cast, name: str, content: bytes, said: str
) -> None:
    version = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/7000/run/model")
    form = {"file": SimpleUploadedFile(name, content)}
    page = as_user("manager", cast).post(url(cast, "benchmark", version.pk), form, follow=True)
    assert said in page.content.decode()
    assert not TrainingRun.objects.exists()
    assert not list((settings.HONE_DATA / "uploads").glob("*"))


def test_what_a_language_model_can_not_be_measured_on_and_a_wrong_setting_are_said_at_once(
    cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = as_user("manager", cast)

    def said(**form: Any) -> str:
        return client.post(url(cast, "benchmark", base.pk), form, follow=True).content.decode()

    assert "a language model is measured on text, or on prompts with a response" in said(file=uploaded(PAIR))
    assert "text.txt is empty." in said(file=SimpleUploadedFile("text.txt", b" \n"))
    assert "text.txt is no text in UTF-8." in said(file=SimpleUploadedFile("text.txt", b"a\0b"))
    assert "This field is required." in said()
    assert "greater than or equal to 8" in said(file=uploaded(DEMONSTRATION), max_length="1")
    monkeypatch.setattr(benchmarks, "LARGEST", 10)
    assert "The file is larger than" in said(file=uploaded(DEMONSTRATION))
    assert not TrainingRun.objects.exists()


def test_names_become_base_names_that_every_file_system_holds() -> None:
    assert benchmarks.file_name("/etc/../a/Réwards.JSONL") == "Réwards.jsonl"
    assert benchmarks.file_name("C:\\x\\rows.txt") == "rows.txt"
    assert benchmarks.file_name("..jsonl") == "file.jsonl"
    assert benchmarks.file_name("a\0\n\u202eb.jsonl") == "ab.jsonl"
    assert benchmarks.file_name("评" * 100 + ".jsonl") == "评" * 40 + ".jsonl"
    with pytest.raises(Refused):
        benchmarks.file_name("jsonl")


def test_another_projects_model_is_not_there_and_labelers_may_not(cast: Cast) -> None:
    other = ModelVersion.objects.create(project=cast.other_project, kind="reward", number=1, folder="runs/1/run/model")
    form = {"file": uploaded(PAIR)}
    assert as_user("manager", cast).post(url(cast, "benchmark", other.pk), form).status_code == 404
    own = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/2/run/model")
    assert as_user("labeler", cast).post(url(cast, "benchmark", own.pk), form).status_code == 403
    assert not TrainingRun.objects.exists()


def test_a_worker_waits_for_a_file_that_is_on_its_way_and_fails_without_one(
    cast: Cast, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = benchmarks.start(base, file=uploaded(DEMONSTRATION), config={}, by=None)
    files = RunFiles(run)
    command = run_command.prepare(run, files, heartbeat=lambda: None).arguments
    assert command[0] == "evaluate"
    assert command[command.index("--data") + 1] == str(files.inputs / "rewardbench.jsonl")
    (files.inputs / "rewardbench.jsonl").unlink()
    with pytest.raises(Refused, match=r"The file rewardbench\.jsonl of this run is not on the worker’s machine"):
        run_command.prepare(run, files, heartbeat=lambda: None)
    monkeypatch.setattr("rlhf.runs.stages.benchmark.folders.is_on", lambda: True)
    monkeypatch.setattr(run_artefacts, "fetch", lambda *_arguments, **_values: None)
    with pytest.raises(StorageAway):
        run_command.prepare(run, files, heartbeat=lambda: None)
