"""Forms of runs and the loop. A stage's settings come from models_core.contract.settings, so each is described once."""

import dataclasses
import typing
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import Project, Snapshot, User
from models_core.contract.errors import BadInput
from models_core.contract.settings import STAGES, Settings, parse
from rlhf.loop import loop
from rlhf.loop.sampling import DEFAULT_PROMPTS
from rlhf.models import LoopSettings, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.reports import labels
from rlhf.runs import launch
from rlhf.runs.stages import NEEDS

PREFIX = "set_"
FIRST_SETTINGS = (
    "method",
    "epochs",
    "episodes",
    "batch_size",
    "learning_rate",
    "kl_coef",
    "max_new_tokens",
    "temperature",
)
"""What people change most; the others are folded away."""
MOST_PROMPTS = 10_000


def setting_field(setting: "dataclasses.Field[Any]", kind: type) -> forms.Field:
    """A form field for one setting, with its help, range and choices."""
    low, high, choices = (setting.metadata[key] for key in ("minimum", "maximum", "choices"))
    label = labels.of_name(setting.name)
    common: dict[str, Any] = {"label": label, "help_text": _(setting.metadata["help"])}
    if choices:
        return forms.ChoiceField(choices=[(choice, choice) for choice in choices], **common)
    if kind is bool:
        return forms.BooleanField(required=False, **common)
    if kind is int:
        return forms.IntegerField(min_value=low, max_value=high, **common)
    if kind is float:
        return forms.FloatField(
            min_value=low, max_value=high, widget=forms.NumberInput(attrs={"step": "any"}), **common
        )
    return forms.CharField(required=bool(setting.default), **common)


class SettingsForm(forms.Form):
    """The settings of a stage. Only those that differ from their defaults are kept."""

    def __init__(self, *args: Any, stage: str, given: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings: type[Settings] = STAGES[stage]
        types = typing.get_type_hints(self.settings)
        for setting in self._shown():
            self.fields[PREFIX + setting.name] = setting_field(setting, types[setting.name])
            self.initial[PREFIX + setting.name] = (given or {}).get(setting.name, setting.default)

    def _shown(self) -> "list[dataclasses.Field[Any]]":
        """All but those that only the command line has a use for: pages name no server and no function of Python."""
        return [setting for setting in dataclasses.fields(self.settings) if setting.metadata["on_pages"]]

    def first_settings(self) -> list[forms.BoundField]:
        return [self[PREFIX + name] for name in FIRST_SETTINGS if PREFIX + name in self.fields]

    def further_settings(self) -> list[forms.BoundField]:
        names = [field.name for field in self._shown() if field.name not in FIRST_SETTINGS]
        return [self[PREFIX + name] for name in names]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                parse(self.settings, self.config())
            except BadInput as error:
                raise forms.ValidationError(str(error)) from None
        return cleaned

    def config(self) -> dict[str, Any]:
        """The settings that were changed."""
        given = {field.name: self.cleaned_data[PREFIX + field.name] for field in self._shown()}
        defaults = {field.name: field.default for field in dataclasses.fields(self.settings)}
        return {name: value for name, value in given.items() if value != defaults[name]}


class RunForm(SettingsForm):
    """What a new run reads, and its settings."""

    def __init__(self, *args: Any, project: Project, stage: str, **kwargs: Any) -> None:
        super().__init__(*args, stage=stage, **kwargs)
        self.project, self.stage = project, stage
        self.needs = NEEDS[stage]
        versions = project.model_versions.all()
        for role in self.needs.inputs:
            is_reward = role == RunInput.Role.REWARD
            of_kind = versions.filter(kind="reward") if is_reward else versions.exclude(kind="reward")
            self.fields[role] = VersionField(
                queryset=of_kind,
                required=False,
                label=RunInput.Role(role).label,
                empty_label=self._default_label(project, stage, role),
            )
        self.others: list[str] = []
        if RunInput.Role.REWARD in self.needs.inputs and versions.filter(kind="reward").count() > 1:
            self.others.append(RunInput.Role.ENSEMBLE)
            self.fields[RunInput.Role.ENSEMBLE] = VersionsField(
                queryset=versions.filter(kind="reward"),
                required=False,
                label=_("Further reward models of the ensemble"),
                help_text=_("Several together say where they are unsure; all of them are in memory at once."),
                widget=forms.SelectMultiple(attrs={"size": 3}),
            )
        if stage == Stage.REWARD:
            self.others.append("seeds")
            self.fields["seeds"] = forms.IntegerField(
                required=False,
                min_value=1,
                max_value=launch.MOST_SEEDS,
                initial=1,
                label=_("Models, one for each seed"),
                help_text=_("Above 1, so many runs on the same data, which together say where they are unsure."),
            )
        if self.needs.snapshot:
            ready = Snapshot.State.READY
            self.fields["snapshot"] = forms.ModelChoiceField(
                queryset=project.snapshots.filter(kind=self.needs.snapshot, format="hone", state=ready),
                required=False,
                label=_("Data"),
                empty_label=_("A new snapshot of the data as it is now"),
            )

    @staticmethod
    def _default_label(project: Project, stage: str, role: str) -> str:
        try:
            usual = launch.default_inputs(project, stage, given={})[role]
        except launch.Refused:
            return _("None yet: train one first")
        return _("%(model)s, as usual") % {"model": usual.label}

    def input_fields(self) -> list[forms.BoundField]:
        names = [*self.needs.inputs, *self.others, *(["snapshot"] if self.needs.snapshot else [])]
        return [self[name] for name in names]

    def start(self, *, by: User) -> list[TrainingRun]:
        """Queue what was asked for. Raises Refused."""
        chosen = {role: self.cleaned_data[role] for role in self.needs.inputs if self.cleaned_data.get(role)}
        given: dict[str, Any] = {
            "project": self.project,
            "by": by,
            "config": self.config(),
            "inputs": chosen,
            "snapshot": self.cleaned_data.get("snapshot"),
        }
        if self.stage == Stage.REWARD:
            return launch.start_seeds(seeds=self.cleaned_data["seeds"] or 1, **given)
        ensemble = list(self.cleaned_data.get(RunInput.Role.ENSEMBLE) or ())
        return [launch.start(stage=self.stage, ensemble=ensemble, **given)]


class _NamedVersions:
    """What a list to choose from calls a version."""

    def label_from_instance(self, version: ModelVersion) -> str:
        name = f" ({version.base_model})" if version.base_model else ""
        in_use = _(", in use") if version.active else ""
        return f"{version.label}{name}{in_use}"


class VersionField(_NamedVersions, forms.ModelChoiceField):
    pass


class VersionsField(_NamedVersions, forms.ModelMultipleChoiceField):
    pass


class SampleForm(forms.Form):
    """Let the policy answer prompts for the queue."""

    prompts = forms.IntegerField(
        label=gettext_lazy("Prompts"), min_value=1, max_value=MOST_PROMPTS, initial=DEFAULT_PROMPTS
    )
    samples = forms.IntegerField(
        label=gettext_lazy("Answers to each"),
        min_value=Project.MIN_RESPONSES,
        max_value=Project.MAX_RESPONSES,
        initial=4,
    )


class RoundsForm(forms.Form):
    rounds = forms.IntegerField(label=gettext_lazy("Rounds"), min_value=1, max_value=100, initial=1)


class LoopSettingsForm(forms.ModelForm):
    """When rounds start by themselves, what may stop one, and the settings of their three runs."""

    class Meta:
        model = LoopSettings
        fields = (
            "enabled", "judgments_per_round", "prompts_per_round", "uncertain_first", "random_share", "tasks_scored",
        )  # fmt: skip
        labels = {
            "enabled": gettext_lazy("Start rounds by itself"),
            "judgments_per_round": gettext_lazy("New judgments that start a round"),
            "prompts_per_round": gettext_lazy("Prompts that the new policy answers"),
            "uncertain_first": gettext_lazy("First what the reward model is least sure of"),
            "random_share": gettext_lazy("Share that stays at random"),
            "tasks_scored": gettext_lazy("Comparisons scored each time"),
        }
        help_texts = {
            "enabled": "",
            "judgments_per_round": "",
            "prompts_per_round": "",
            "uncertain_first": gettext_lazy(
                "The loop then trains reward models with several heads, and comparisons come first that the heads "
                "disagree about."
            ),
            "random_share": gettext_lazy(
                "Between 0 and 1. Judgments of these remain an honest sample, as do those of held-out prompts and gold "
                "tasks."
            ),
            "tasks_scored": gettext_lazy("The next ones of the queue, each time a reward model or new answers come."),
        }

    STAGES = {"reward_config": Stage.REWARD, "ppo_config": Stage.PPO, "sampling": Stage.SAMPLE}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, (label, _bound) in loop.GATES.items():
            self.fields[f"gate_{name}"] = forms.FloatField(
                label=label, required=False, min_value=0, widget=forms.NumberInput(attrs={"step": "any"}),
                help_text=_("Empty: no gate."),
            )  # fmt: skip
            self.initial[f"gate_{name}"] = self.instance.gates.get(name)
        self.fields[f"gate_{loop.REPORT_GATE}"] = forms.ChoiceField(
            label=_("Report of the reward model"), required=False, choices=loop.ReportGate.choices,
            help_text=_("Before PPO begins. With few judgments a report can’t tell."),
        )  # fmt: skip
        self.initial[f"gate_{loop.REPORT_GATE}"] = self.instance.gates.get(loop.REPORT_GATE, "")
        data = self.data if self.is_bound else None
        self.stage_forms = {
            name: SettingsForm(data, stage=stage, given=getattr(self.instance, name), prefix=name)
            for name, stage in self.STAGES.items()
        }

    def visible_rules(self) -> list[forms.BoundField]:
        return [self[name] for name in self.Meta.fields]

    def gate_fields(self) -> list[forms.BoundField]:
        return [self[f"gate_{name}"] for name in (*loop.GATES, loop.REPORT_GATE)]

    def stage_groups(self) -> list[tuple[str, SettingsForm]]:
        return [(str(Stage(self.STAGES[name]).label), form) for name, form in self.stage_forms.items()]

    def is_valid(self) -> bool:
        return all([super().is_valid(), *(form.is_valid() for form in self.stage_forms.values())])

    def save(self, commit: bool = True) -> LoopSettings:
        gates = {name: self.cleaned_data[f"gate_{name}"] for name in (*loop.GATES, loop.REPORT_GATE)}
        self.instance.gates = {name: bound for name, bound in gates.items() if bound not in (None, "")}
        for name, form in self.stage_forms.items():
            setattr(self.instance, name, form.config())
        return super().save(commit=commit)
