"""What is done with model versions beside promoting them: import, tag, measure, delete."""

import dataclasses
import typing
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from annotate import access
from annotate.errors import Refused
from annotate.people.permissions import Capability, ProjectRequest, requires
from models_core.contract.settings import EvaluateConfig
from rlhf.forms.stage_settings import setting_field
from rlhf.model_registry import benchmarks, exporting, importing, removal, tags
from rlhf.models import ModelVersion
from rlhf.reports import model_archive


class ImportForm(forms.Form):
    """A model to import."""

    source = forms.CharField(max_length=importing.LONGEST, label=gettext_lazy("Folder or Hub id"))
    kind = forms.ChoiceField(
        label=gettext_lazy("It is a"),
        choices=[(str(kind), kind.label) for kind in importing.KINDS],
        help_text=gettext_lazy("It is refused where its head or its chat template says otherwise."),
    )


class BenchmarkForm(forms.Form):
    """A file to measure a version on, and the settings that matter for its kind."""

    SETTINGS = ("max_length", "precision")
    OF_LANGUAGE_MODELS = ("loss_on", "num_generated", "max_new_tokens")

    file = forms.FileField(
        label=gettext_lazy("File"),
        allow_empty_file=True,
        widget=forms.ClearableFileInput(attrs={"accept": ",".join((*benchmarks.SUFFIXES, benchmarks.GZIP))}),
    )

    def __init__(self, data: Any = None, files: Any = None, *, version: ModelVersion) -> None:
        super().__init__(data, files, auto_id="benchmark_%s")
        is_reward = version.kind == ModelVersion.Kind.REWARD
        self.fields["file"].help_text = (
            _("Rankings, or pairs such as RewardBench’s (prompt, chosen, rejected, subset), in JSON lines.")
            if is_reward
            else _("Prompts with responses in JSON lines, or text.")
        )
        types = typing.get_type_hints(EvaluateConfig)
        self.settings = {item.name: item for item in dataclasses.fields(EvaluateConfig)}
        self.names = self.SETTINGS if is_reward else (*self.SETTINGS, *self.OF_LANGUAGE_MODELS)
        for name in self.names:
            self.fields[name] = setting_field(self.settings[name], types[name])
            self.fields[name].required = False
            self.initial[name] = self.settings[name].default

    def setting_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.names]

    def config(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        given = {name: self.cleaned_data[name] for name in self.names}
        return {name: value for name, value in given.items() if value not in (None, "", self.settings[name].default)}


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def import_model(request: ProjectRequest) -> HttpResponse:
    form = ImportForm(request.POST or None)
    status = 400
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            run = importing.start(
                project=request.project, source=given["source"], kind=given["kind"], by=request.user, from_page=True
            )
        except Refused as error:
            form.add_error("source", str(error))
            status = error.status
        else:
            return redirect("rlhf:run", request.project.slug, run.pk)
    context = {"project": request.project, "form": form, "folders": importing.allowed_folders()}
    return render(request, "rlhf/import_model.html", context, status=status if form.errors else 200)


@require_POST
@requires(Capability.TRAIN)
def tag(request: ProjectRequest, version_id: int) -> HttpResponse:
    version = access.load(request, ModelVersion, pk=version_id)
    try:
        tags.change(version, request.POST.get("tags", ""), by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The tags were saved."))
    return redirect("rlhf:model", request.project.slug, version.pk)


@require_POST
@requires(Capability.TRAIN)
def benchmark(request: ProjectRequest, version_id: int) -> HttpResponse:
    """Measure a version on an uploaded file."""
    version = access.load(request, ModelVersion, pk=version_id)
    form = BenchmarkForm(request.POST, request.FILES, version=version)
    try:
        if not form.is_valid():
            wrong = (f"{form[name].label}: {' '.join(map(str, errors))}" for name, errors in form.errors.items())
            raise Refused(" ".join(wrong))
        run = benchmarks.start(version, file=form.cleaned_data["file"], config=form.config(), by=request.user)
    except Refused as error:
        messages.error(request, str(error))
        return redirect("rlhf:model", request.project.slug, version.pk)
    return redirect("rlhf:run", request.project.slug, run.pk)


@require_POST
@requires(Capability.TRAIN)
def export_gguf(request: ProjectRequest, version_id: int) -> HttpResponse:
    version = access.load(request, ModelVersion, pk=version_id)
    try:
        run = exporting.start_gguf(version, kind=request.POST.get("type", ""), by=request.user)
    except Refused as error:
        messages.error(request, str(error))
        return redirect("rlhf:model", request.project.slug, version.pk)
    return redirect("rlhf:run", request.project.slug, run.pk)


@require_POST
@requires(Capability.TRAIN)
def push(request: ProjectRequest, version_id: int) -> HttpResponse:
    version = access.load(request, ModelVersion, pk=version_id)
    try:
        run = exporting.start_push(
            version,
            repository=request.POST.get("repository", "").strip(),
            private="private" in request.POST,
            token_variable=request.POST.get("token_variable", "").strip(),
            as_adapter=request.POST.get("what") == "adapter",
            base=request.POST.get("base", "").strip(),
            by=request.user,
        )
    except Refused as error:
        messages.error(request, str(error))
        return redirect("rlhf:model", request.project.slug, version.pk)
    return redirect("rlhf:run", request.project.slug, run.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def delete(request: ProjectRequest, version_id: int) -> HttpResponse:
    """What needs the version, or the question whether to delete it (GET); the deletion (POST)."""
    version = access.load(request, ModelVersion, pk=version_id)
    if request.method == "POST":
        try:
            removal.delete(version, by=request.user)
        except Refused as error:
            return _question(request, version, status=error.status)
        messages.success(
            request, _("%(version)s was deleted; its files are being removed.") % {"version": version.label}
        )
        return redirect("rlhf:models", request.project.slug)
    return _question(request, version, status=200)


def _question(request: ProjectRequest, version: ModelVersion, *, status: int) -> HttpResponse:
    context = {
        "project": request.project,
        "version": version,
        "needed_by": removal.needed_by(version),
        "bytes": sum(size for _name, size in model_archive.sizes_of(version)),
    }
    return render(request, "rlhf/delete_model.html", context, status=status)
