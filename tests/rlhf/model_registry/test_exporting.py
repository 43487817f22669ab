"""A version goes out: its GGUF file from a real run, and the command of a push."""

import json
from io import StringIO
from pathlib import Path

import gguf
import pytest
from django.core.management import CommandError, call_command

from annotate.errors import Refused
from rlhf.model_registry import exporting, removal
from rlhf.models import ModelVersion, TrainingRun
from rlhf.runs.execution import run_command, supervisor
from rlhf.runs.execution.run_files import RunFiles
from tests.factories.cast import Cast
from tests.models_core.commands.test_gguf import make_model
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing_sent")]


@pytest.fixture
def policy(cast: Cast, base: ModelVersion) -> ModelVersion:
    from django.conf import settings

    make_model(settings.HONE_DATA / "runs/7000/run/model")
    return ModelVersion.objects.create(project=cast.project, kind="policy", number=1, folder="runs/7000/run/model")


@pytest.mark.any_database
def test_a_gguf_file_is_written_offered_downloaded_and_goes_with_its_version(
    cast: Cast, policy: ModelVersion, tmp_path: Path
) -> None:
    client = as_user("researcher", cast)
    reply = client.post(url(cast, "export_gguf", policy.pk), {"type": "f16"})
    run = TrainingRun.objects.get(stage="gguf")
    assert reply["Location"] == url(cast, "run", run.pk)
    assert client.get(url(cast, "gguf_file", run.pk)).status_code == 404
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error, run.result["type"]) == ("succeeded", "", "f16")
    page = client.get(url(cast, "model", policy.pk)).content.decode()
    assert url(cast, "gguf_file", run.pk) in page
    sent = client.get(url(cast, "gguf_file", run.pk))
    assert sent["Content-Disposition"] == 'attachment; filename="kindness-policy-1-f16.gguf"'
    (tmp_path / "sent.gguf").write_bytes(b"".join(sent.streaming_content))
    fields = gguf.GGUFReader(tmp_path / "sent.gguf").fields
    assert fields["general.name"].contents() == "kindness-policy-1"
    assert as_user("labeler", cast).get(url(cast, "gguf_file", run.pk)).status_code == 403
    removal.delete(policy, by=cast.manager)
    removal.remove_files(policy.pk)
    assert not exporting.gguf_path(run).exists()


def test_only_what_responds_becomes_a_gguf_file(cast: Cast, policy: ModelVersion) -> None:
    reward = ModelVersion.objects.create(project=cast.project, kind="reward", number=1, folder="runs/7000/run/model")
    with pytest.raises(Refused, match="it scores responses and generates none"):
        exporting.start_gguf(reward, kind="f16", by=None)
    with pytest.raises(Refused, match="Choose a type: f16, q8_0"):
        exporting.start_gguf(policy, kind="q4_0", by=None)
    output = StringIO()
    call_command("export_gguf", cast.project.slug, "policy-1", "--type", "f16", stdout=output)
    assert TrainingRun.objects.get(pk=json.loads(output.getvalue())["run"]).options["type"] == "f16"


def test_a_push_names_repository_and_variable_and_brings_the_card(cast: Cast, policy: ModelVersion) -> None:
    client = as_user("manager", cast)
    form = {"repository": "me/mine", "token_variable": "HF_TOKEN", "private": "yes"}
    client.post(url(cast, "push_model", policy.pk), form)
    run = TrainingRun.objects.get(stage="push")
    files = RunFiles(run)
    files.make()
    command = run_command.prepare(run, files, heartbeat=lambda: None).arguments
    assert command[0] == "push"
    assert command[command.index("--repository") :][:5] == [
        "--repository", "me/mine", "--token-variable", "HF_TOKEN", "--private",
    ]  # fmt: skip
    card = Path(command[command.index("--card") + 1]).read_text()
    assert card.startswith("# Policy 1\n")
    for wrong, said in (
        ({"repository": "mine"}, "A repository is named OWNER/NAME."),
        ({"token_variable": "HONE_SECRET_KEY"}, "environment variable begins with HF_"),
    ):
        page = client.post(url(cast, "push_model", policy.pk), form | wrong, follow=True)
        assert said in page.content.decode()
    with pytest.raises(CommandError, match="OWNER/NAME"):
        call_command("push_model", cast.project.slug, "policy-1", "mine")
    assert TrainingRun.objects.count() == 1


def test_an_adapter_is_pushed_with_the_model_that_it_was_trained_on(
    cast: Cast, base: ModelVersion, policy: ModelVersion
) -> None:
    from django.conf import settings

    client = as_user("manager", cast)
    form = {"repository": "me/mine", "token_variable": "HF_TOKEN", "what": "adapter"}

    def refused(**more: str) -> str:
        return client.post(url(cast, "push_model", policy.pk), form | more, follow=True).content.decode()

    page = client.get(url(cast, "model", policy.pk)).content.decode()
    assert "The LoRA adapter alone" not in page
    assert "Policy 1 has no LoRA adapter" in refused()
    folder = settings.HONE_DATA / "runs/7000/run/lora"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    assert "The LoRA adapter alone" in client.get(url(cast, "model", policy.pk)).content.decode()
    # What it was trained on is not known, then on no Hub, then pushed.
    assert "The adapter needs the model that it was trained on" in refused()
    assert "A repository is named OWNER/NAME." in refused(base="mine")
    sft = ModelVersion.objects.create(project=cast.project, kind="sft", number=1, folder="runs/6999/run/model")
    trained = TrainingRun.objects.create(project=cast.project, stage="ppo", status="succeeded", produced=policy)
    trained.run_inputs.create(version=sft, role="model")
    assert exporting.hub_base(policy) == ""
    done = TrainingRun.objects.create(
        project=cast.project, stage="push", status="succeeded", options={"repository": "me/sft"}
    )
    done.run_inputs.create(version=sft, role="model")
    assert 'value="me/sft"' in client.get(url(cast, "model", policy.pk)).content.decode()
    client.post(url(cast, "push_model", policy.pk), form)
    run = TrainingRun.objects.filter(stage="push").latest("pk")
    files = RunFiles(run)
    files.make()
    command = run_command.prepare(run, files, heartbeat=lambda: None).arguments
    assert command[command.index("--adapter-of") + 1] == "me/sft"
    # The base model goes by its name on the Hub; an adapter that was pushed is no base.
    trained.run_inputs.update(version=ModelVersion.objects.create(
        project=cast.project, kind="base", number=9, base_model="smollm2-135m-instruct"
    ))  # fmt: skip
    assert exporting.hub_base(policy) == "HuggingFaceTB/SmolLM2-135M-Instruct"
    call_command(
        "push_model", cast.project.slug, "policy-1", "me/mine", "--adapter", "--base", "you/base", stdout=StringIO()
    )
    assert TrainingRun.objects.latest("pk").options["adapter_of"] == "you/base"
    TrainingRun.objects.filter(stage="push").update(status="cancelled")
    removal.delete(policy, by=cast.manager)
    removal.remove_files(policy.pk)
    assert not folder.exists()
