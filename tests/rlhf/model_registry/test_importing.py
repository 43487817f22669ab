"""A model of somebody else becomes a version once it was checked: from a page, from a command, and refused."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from annotate.errors import Refused
from models_core.contract.runs.run_folder import folder_sha256
from rlhf.model_registry import importing
from rlhf.models import TrainingRun
from rlhf.reports import model_archive, model_card
from rlhf.runs.execution import supervisor
from tests.factories.cast import Cast
from tests.models_core.tiny import make_tiny_model
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing_sent")]


@pytest.fixture
def shelf(tmp_path: Path, settings: Any) -> Path:
    """A folder of models that pages may import from."""
    settings.HONE_MODEL_FOLDERS = [str(tmp_path / "shelf")]
    make_tiny_model(tmp_path / "shelf" / "mine")
    (tmp_path / "shelf" / "mine" / "train.py").write_text("raise SystemExit")
    return tmp_path / "shelf"


@pytest.mark.any_database
def test_a_folder_becomes_a_version_that_is_whole_and_says_where_it_is_from(cast: Cast, shelf: Path) -> None:
    source = str(shelf / "mine")
    run = importing.start(project=cast.project, source=source, kind="policy", by=cast.manager, from_page=True)
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == ("succeeded", "")
    version = run.produced
    assert version is not None
    names = {name for name, _path in model_archive.files_of(version)}
    assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json"} <= names
    assert "model/train.py" not in names
    assert version.sha256 == folder_sha256(django_settings.HONE_DATA / version.folder)
    assert (version.kind, version.number, version.metrics["parameters"]) == ("policy", 1, 8832)
    assert dict(model_card.card_of(version).about)["Imported from"] == "mine"
    assert version.author is not None
    page = as_user("researcher", cast).get(url(cast, "run", run.pk))
    assert page.status_code == 200


def test_a_page_imports_from_allowed_folders_alone_and_a_command_from_any(
    cast: Cast, shelf: Path, tmp_path: Path, settings: Any
) -> None:
    make_tiny_model(tmp_path / "secret")
    (shelf / "link").symlink_to(tmp_path / "secret")
    client = as_user("manager", cast)
    for source in (str(tmp_path / "secret"), f"{shelf}/../secret", str(shelf / "link"), "./secret", "/nowhere"):
        reply = client.post(url(cast, "import_model"), {"source": source, "kind": "policy"})
        assert reply.status_code == 400
        assert "folders that HONE_MODEL_FOLDERS allows" in reply.content.decode()
    for source, kind, said in (
        ("a b", "policy", "is neither a folder nor a Hub id."),
        (str(shelf / "nothing"), "policy", "There is no folder"),
        ("x/y", "base", "Choose what the model is"),
    ):
        with pytest.raises(Refused, match=said):
            importing.start(project=cast.project, source=source, kind=kind, by=None, from_page=True)
    assert not TrainingRun.objects.exists()
    reply = client.post(url(cast, "import_model"), {"source": str(shelf / "mine"), "kind": "policy"})
    run = TrainingRun.objects.get()
    assert reply["Location"] == url(cast, "run", run.pk)
    output = StringIO()
    call_command("import_model", cast.project.slug, str(tmp_path / "secret"), "--kind", "sft", stdout=output)
    told = json.loads(output.getvalue())
    assert TrainingRun.objects.get(pk=told["run"]).options == {"model": str(tmp_path / "secret"), "kind": "sft"}
    with pytest.raises(CommandError, match="is neither a folder nor a Hub id"):
        call_command("import_model", cast.project.slug, "no such thing", "--kind", "sft")
    assert as_user("labeler", cast).get(url(cast, "import_model")).status_code == 403
