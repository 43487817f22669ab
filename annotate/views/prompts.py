"""The prompts of a project, and files that bring more."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.contrib import messages
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db.models import Count, Q
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.data import rejected_rows, uploads
from annotate.data.imports import ImportReport, UnknownColumns, check_columns
from annotate.data.imports import import_file as import_into
from annotate.errors import Refused
from annotate.formats import column_mapping, files
from annotate.forms.data_files import HubImportForm, ImportForm
from annotate.labeling.sensitive_content import marking
from annotate.models import Prompt, Task, Upload
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.quality import project_figures

PAGE = 50
SHOWN = 5
SHOWN_FOR = timedelta(days=7)
"""Results of files that were imported in the background."""


@require_safe
@requires(Capability.SEE_DATA)
def prompts(request: ProjectRequest) -> HttpResponse:
    return _page(request, form=ImportForm())


@require_POST
@requires(Capability.MANAGE)
def import_file(request: ProjectRequest) -> HttpResponse:
    """Import an upload: all of it, or nothing and the broken lines by number."""
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, form=form, status=400)
    upload = form.cleaned_data["file"]
    if not uploads.is_small(upload):
        return _keep(request, form)
    try:
        with _on_disk(upload) as path:
            report = import_into(
                project=request.project,
                path=path,
                by=request.user,
                dry_run="check" in request.POST,
                name=upload.name,
                wait=False,
                **form.options,
            )
    except Refused as refusal:
        return _refused(request, form, refusal)
    form.written_columns()
    if report.errors:
        return _page(request, form=form, status=400, report=report, file_name=upload.name)
    if report.dry_run or report.rejected:
        return _page(request, form=form, report=report, file_name=upload.name)
    messages.success(request, f"{upload.name}: {report.summary}")
    return redirect("annotate:prompts", request.project.slug)


def _refused(request: ProjectRequest, form: ImportForm, refusal: Refused) -> HttpResponse:
    """With a choice for each column where only these have to be named."""
    form.add_error("file", str(refusal))
    columns = column_mapping.columns_of(refusal.row) if isinstance(refusal, UnknownColumns) else []
    return _page(request, form=form, status=refusal.status, columns=columns, fields=column_mapping.FIELDS.items())


def _keep(request: ProjectRequest, form: ImportForm) -> HttpResponse:
    """A large file is imported by a job: no request waits for it."""
    options = form.options | {"dry_run": "check" in request.POST}
    upload = form.cleaned_data["file"]
    try:
        if options["format"] == "auto" and not options["columns"]:
            with _on_disk(upload) as path:
                if not files.is_packed(path):
                    check_columns(path, name=upload.name)
        uploads.keep(project=request.project, by=request.user, file=upload, options=options)
    except Refused as refusal:
        return _refused(request, form, refusal)
    if options["dry_run"]:
        messages.success(request, _("The file is here and is checked in the background. You may leave this page."))
    else:
        messages.success(request, _("The file is here and is imported in the background. You may leave this page."))
    return redirect("annotate:prompts", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def import_from_hub(request: ProjectRequest) -> HttpResponse:
    """Ask for a data set of a Hub: a job fetches and imports it."""
    form = HubImportForm(request.POST)
    if not form.is_valid():
        return _page(request, form=ImportForm(), hub_form=form, status=400)
    options = form.options | {"dry_run": "check" in request.POST}
    uploads.keep_source(project=request.project, by=request.user, source=form.source, options=options)
    if options["dry_run"]:
        messages.success(request, _("Asked for. It is fetched and checked in the background; you may leave this page."))
    else:
        messages.success(
            request, _("Asked for. It is fetched and imported in the background; you may leave this page.")
        )
    return redirect("annotate:prompts", request.project.slug)


@require_safe
@requires(Capability.MANAGE)
def rejected(request: ProjectRequest, name: str) -> FileResponse:
    """The rows of an import that were not taken, each with its reason."""
    path = rejected_rows.path_of(request.project, name)
    if path is None:
        raise Http404(_("The file of rows that were not taken is gone: it is kept for a week."))
    return FileResponse(path.open("rb"), as_attachment=True, filename=f"{request.project.slug}-not-taken.jsonl")


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.MANAGE)
def imports(request: ProjectRequest) -> HttpResponse:
    """How far the large files are; or give one up."""
    if request.method == "POST":
        number = request.POST.get("cancel", "")
        upload = access.load(request, Upload, pk=int(number) if re.fullmatch(r"[0-9]{1,15}", number) else 0)
        uploads.cancel(upload)
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("annotate:prompts", request.project.slug)
    return render(request, "annotate/prompts.html#imports", {"project": request.project, **_uploads(request)})


def _uploads(request: ProjectRequest) -> dict[str, Any]:
    """The files that are under way, and the last ones that were dealt with."""
    shown = request.project.uploads.select_related("created_by").filter(
        Q(state__in=Upload.UNFINISHED) | Q(finished_at__gt=timezone.now() - SHOWN_FOR)
    )[:SHOWN]
    return {
        "uploads": [(upload, uploads.report_of(upload)) for upload in shown],
        "unfinished": any(upload.state in Upload.UNFINISHED for upload in shown),
    }


@require_POST
@requires(Capability.MANAGE)
def mark(request: ProjectRequest, prompt_id: int) -> HttpResponse:
    """Mark a prompt as one that may upset, or take the mark away."""
    prompt = access.load(request, Prompt, pk=prompt_id)
    marking.mark(prompt=prompt, sensitive=request.POST.get("sensitive") == "yes", by=request.user)
    messages.success(request, _("Saved."))
    return redirect("annotate:prompts", request.project.slug)


@contextmanager
def _on_disk(upload: UploadedFile) -> Iterator[Path]:
    """The upload as a file with its own ending, which tells formats apart. A large one is on disk already."""
    if isinstance(upload, TemporaryUploadedFile):
        yield Path(upload.temporary_file_path())
        return
    with tempfile.NamedTemporaryFile(suffix=Path(upload.name or "").suffix) as file:
        for chunk in upload.chunks():
            file.write(chunk)
        file.flush()
        yield Path(file.name)


def _page(
    request: ProjectRequest,
    *,
    form: ImportForm,
    hub_form: HubImportForm | None = None,
    status: int = 200,
    report: ImportReport | None = None,
    **context: Any,
) -> HttpResponse:
    split, before = request.GET.get("split", ""), request.GET.get("before", "")
    shown = Prompt.objects.filter(project=request.project).order_by("-pk")
    if split in Prompt.Split.values:
        shown = shown.filter(split=split)
    if re.fullmatch(r"[0-9]{1,18}", before):
        shown = shown.filter(pk__lt=int(before))
    keys = list(shown.values_list("pk", flat=True)[: PAGE + 1])
    figures = project_figures.of(request.project)
    counts = Prompt.objects.filter(pk__in=keys[:PAGE]).annotate(
        # What an unfinished import adds to a prompt isn't there yet.
        response_count=Count("responses", filter=Q(responses__data_import__finished_or=0), distinct=True),
        open_tasks=Count(
            "tasks", filter=Q(tasks__state=Task.State.OPEN, tasks__data_import__finished_or=0), distinct=True
        ),
        judgments=Count(
            "tasks__judgments",
            filter=Q(tasks__judgments__data_import__finished_or=0, tasks__judgments__is_check=False),
            distinct=True,
        ),
    )
    context |= {
        "project": request.project,
        "form": form,
        "hub_form": hub_form or HubImportForm(),
        "report": report,
        "rows": counts.order_by("-pk"),
        "before": before,
        "next": keys[PAGE - 1] if len(keys) > PAGE else None,
        "shown_count": None if figures is None else figures.splits.get(split, 0) if split else figures.prompts,
        "split": split,
        "splits": Prompt.Split.choices,
        "may_manage": Capability.MANAGE in request.capabilities,
        **(_uploads(request) if Capability.MANAGE in request.capabilities else {}),
    }
    return render(request, "annotate/prompts.html", context, status=status)
