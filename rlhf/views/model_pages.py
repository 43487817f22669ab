"""A model version's page: its card, its lineage, and its files to download."""

from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from annotate import access
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.model_registry import exporting
from rlhf.models import ModelVersion, Promotion, Stage, TrainingRun
from rlhf.reports import benchmark_results, lineage, model_archive, model_card
from rlhf.runs.stages.gguf_export import FILE
from rlhf.runs.storage import run_artefacts
from rlhf.views.registry_actions import BenchmarkForm

CHANGES_SHOWN = 20


@require_safe
@requires(Capability.TRAIN)
def model(request: ProjectRequest, version_id: int) -> HttpResponse:
    version = access.load(request, ModelVersion, pk=version_id)
    files = model_archive.sizes_of(version)
    context = {
        "project": request.project,
        "version": version,
        "run": TrainingRun.objects.filter(produced=version).first(),
        "card": model_card.card_of(version),
        "lineage": lineage.of_version(version),
        "tags": ", ".join(version.tags),
        "can_be_gguf": version.kind != ModelVersion.Kind.REWARD,
        "gguf_files": [
            {"run": run, "name": exporting.file_name(run), "bytes": size} for run, size in exporting.gguf_runs(version)
        ],
        "pushes": exporting.pushes(version),
        "token_variable": exporting.TOKEN,
        "has_adapter": exporting.has_adapter(version),
        "hub_base": exporting.hub_base(version),
        "files": files,
        "benchmark_form": BenchmarkForm(version=version),
        "measured_on": benchmark_results.of_version(version),
        "bytes": sum(size for _name, size in files),
        "changes": Promotion.objects.filter(version=version).select_related("by").order_by("-pk")[:CHANGES_SHOWN],
    }
    return render(request, "rlhf/model.html", context)


@require_safe
@requires(Capability.TRAIN)
def card(request: ProjectRequest, version_id: int) -> HttpResponse:
    """The model card as Markdown."""
    version = access.load(request, ModelVersion, pk=version_id)
    text = model_card.card_of(version).markdown()
    return HttpResponse(text, content_type="text/markdown; charset=utf-8", headers=_download(version, "card.md"))


@require_safe
@requires(Capability.TRAIN)
def archive(request: ProjectRequest, version_id: int) -> StreamingHttpResponse:
    """The files of a version as zip."""
    version = access.load(request, ModelVersion, pk=version_id)
    files = _files(version)
    text = model_card.card_of(version).markdown()
    blocks = model_archive.archive(files, card=text)
    return StreamingHttpResponse(blocks, content_type="application/zip", headers=_download(version, "model.zip"))


@require_safe
@requires(Capability.TRAIN)
def hashes(request: ProjectRequest, version_id: int) -> StreamingHttpResponse:
    """SHA-256 of each file."""
    version = access.load(request, ModelVersion, pk=version_id)
    lines = model_archive.hashes(_files(version))
    return StreamingHttpResponse(
        lines, content_type="text/plain; charset=utf-8", headers=_download(version, "SHA256SUMS")
    )


@require_safe
@requires(Capability.TRAIN)
def gguf_file(request: ProjectRequest, run_id: int) -> StreamingHttpResponse:
    """The file that an export has written."""
    run = access.load(request, TrainingRun, pk=run_id, stage=Stage.GGUF)
    path = run_artefacts.fetch_file(run, FILE)
    if run.status != TrainingRun.Status.SUCCEEDED or not path.is_file():
        raise Http404(_("The files of this model are not on this machine."))
    return FileResponse(path.open("rb"), as_attachment=True, filename=exporting.file_name(run))


def _files(version: ModelVersion) -> list[tuple[str, model_archive.Path]]:
    run_artefacts.fetch_model(version)
    files = model_archive.files_of(version)
    if not files:
        raise Http404(_("The files of this model are not on this machine."))
    return files


def _download(version: ModelVersion, name: str) -> dict[str, str]:
    file = f"{version.project.slug}-{version.kind}-{version.number}-{name}"
    return {"Content-Disposition": f'attachment; filename="{file}"'}
