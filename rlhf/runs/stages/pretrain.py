"""Pretraining on plain text: a corpus file of the data folder, or the texts of the project."""

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext_lazy, gettext_noop

from annotate.data.stored_messages import StoredMessage, refusal
from annotate.models import Demonstration, Project, Prompt
from rlhf.loop import prompts
from rlhf.models import ModelVersion, Stage, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.spec import Heartbeat, Role, StageData, StageInput, StageSpec, none

FOLDER = "corpora"
SUFFIXES = (".txt", ".jsonl")
PROJECT_TEXTS = "project"
"""In place of a file's name: the texts of the project. No file has that name: it would end with a suffix."""
MAX_LISTED = 200


def corpora() -> list[str]:
    """Names of the corpus files below HONE_DATA/corpora, at most MAX_LISTED."""
    root = _root()
    found = sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    return [str(path.relative_to(root)) for path in found[:MAX_LISTED]]


def corpus_path(name: str) -> Path:
    """The corpus file of a name below HONE_DATA/corpora. Raises Refused for anything else.

    Nothing else of the data folder may become training data: it holds keys and the database.
    """
    root = _root().resolve()
    try:
        path = (root / name).resolve()
    except (OSError, ValueError):  # a loop of links, a NUL character
        path = root
    if root not in path.parents or path.suffix not in SUFFIXES or not path.is_file():
        raise refusal("no_corpus", status=400, name=name, folder=str(_root()))
    return path


def project_texts(project: Project) -> Iterator[str]:
    """A document for each demonstration of a train prompt, and for each train prompt without one."""
    train = Prompt.objects.filter(project=project, split=Prompt.Split.TRAIN)
    demonstrations = Demonstration.for_training(project).filter(prompt__split=Prompt.Split.TRAIN)
    for demonstration in demonstrations.select_related("prompt", "response").order_by("pk").iterator(chunk_size=500):
        assert demonstration.prompt is not None
        yield _document(demonstration.prompt, demonstration.response.text)
    for prompt in train.exclude(demonstrations__in=demonstrations).order_by("pk").iterator(chunk_size=500):
        yield _document(prompt)


def data(run: TrainingRun, files: RunFiles, heartbeat: Heartbeat) -> StageData:
    if name := run.options.get("corpus"):
        return StageData(files={"--data": corpus_path(name)})
    path = text_file(run, files, name=PROJECT_TEXTS)
    return StageData(files={"--data": path}, notes=(StoredMessage("trained_on_project_texts"),))


def text_file(run: TrainingRun, files: RunFiles, *, name: str) -> Path:
    """A corpus file, or the project's texts as a file of the run. Raises Refused where there are none."""
    if name != PROJECT_TEXTS:
        return corpus_path(name)
    path = files.inputs / "corpus.jsonl"
    if not path.exists():
        prompts.write(({"text": text} for text in project_texts(run.project)), path)
    if not path.stat().st_size:
        raise refusal("no_train_prompts", project=run.project.name)
    return path


def _document(prompt: Prompt, *responses: str) -> str:
    return "\n\n".join([*(message["content"] for message in prompt.messages), *responses])


def _root() -> Path:
    return Path(settings.HONE_DATA) / FOLDER


SPEC = StageSpec(
    stage=Stage.PRETRAIN,
    title=gettext_lazy("Pretrain on plain text"),
    activity=gettext_noop("training on plain text"),
    inputs=(StageInput(role=Role.MODEL, default=none, is_required=False),),
    data=data,
    kind=ModelVersion.Kind.PRETRAINED,
)
