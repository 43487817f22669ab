"""Forms of runs and the loop. The fields of a stage come from its settings class in models_core.contract.settings."""

import dataclasses
import typing
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import Refused
from annotate.models import Project, Snapshot, User
from models_core.contract.errors import BadInput
from models_core.contract.settings import STAGES, Settings, parse
from rlhf.loop import loop
from rlhf.loop.sampling import DEFAULT_PROMPTS
from rlhf.models import LoopSettings, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.reports import labels
from rlhf.runs import launch
from rlhf.runs.stages import pretrain
from rlhf.runs.stages.registry import STAGE_SPECS

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
"""Settings that are changed most; the others are folded."""
MOST_PROMPTS = 10_000
MOST_DIGITS = 18
"""Of a version's key."""


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
    """The settings of a stage. `config` has those that differ from their defaults."""

    def __init__(self, *args: Any, stage: str, given: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings: type[Settings] = STAGES[stage]
        types = typing.get_type_hints(self.settings)
        for setting in self._shown():
            self.fields[PREFIX + setting.name] = setting_field(setting, types[setting.name])
            self.initial[PREFIX + setting.name] = (given or {}).get(setting.name, setting.default)

    def _shown(self) -> "list[dataclasses.Field[Any]]":
        """All settings but those for the command line alone, such as servers and Python functions."""
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
        """The settings that differ from their defaults."""
        given = {field.name: self.cleaned_data[PREFIX + field.name] for field in self._shown()}
        defaults = {field.name: field.default for field in dataclasses.fields(self.settings)}
        return {name: value for name, value in given.items() if value != defaults[name]}


class RunForm(SettingsForm):
    """Inputs and settings of a new run."""

    def __init__(self, *args: Any, project: Project, stage: str, **kwargs: Any) -> None:
        super().__init__(*args, stage=stage, **kwargs)
        self.project, self.stage = project, stage
        self.spec = STAGE_SPECS[stage]
        self.roles = [item.role for item in self.spec.inputs if item.is_on_pages]
        versions = project.model_versions.all()
        for role in self.roles:
            is_reward = role == RunInput.Role.REWARD
            of_kind = versions.filter(kind="reward") if is_reward else versions.exclude(kind="reward")
            self.fields[role] = VersionField(
                queryset=of_kind,
                required=False,
                label=RunInput.Role(role).label,
                empty_label=self._default_label(project, stage, role),
            )
        self.others: list[str] = []
        if RunInput.Role.REWARD in self.roles and versions.filter(kind="reward").count() > 1:
            self.others.append(RunInput.Role.ENSEMBLE)
            self.fields[RunInput.Role.ENSEMBLE] = VersionsField(
                queryset=versions.filter(kind="reward"),
                required=False,
                label=_("Further reward models of the ensemble"),
                help_text=_("Their disagreement measures uncertainty. All of them are in memory at once."),
                widget=forms.SelectMultiple(attrs={"size": 3}),
            )
        if stage == Stage.REWARD:
            self.others.append("seeds")
            self.fields["seeds"] = forms.IntegerField(
                required=False,
                min_value=1,
                max_value=launch.MOST_SEEDS,
                initial=1,
                label=_("Number of seeds"),
                help_text=_(
                    "Above 1: as many runs on the same data, an ensemble whose disagreement measures uncertainty."
                ),
            )
        if stage == Stage.PRETRAIN:
            self.others.append("corpus")
            self.fields["corpus"] = forms.ChoiceField(
                required=False,
                label=_("Corpus"),
                choices=[("", _("Train prompts and demonstrations of this project")), *_same(pretrain.corpora())],
                help_text=_("Files (.txt, .jsonl) in the folder %(folder)s of the data folder can be chosen too.")
                % {"folder": pretrain.FOLDER},
            )
        if self.spec.snapshot:
            ready = Snapshot.State.READY
            self.fields["snapshot"] = forms.ModelChoiceField(
                queryset=project.snapshots.filter(kind=self.spec.snapshot, format="hone", state=ready),
                required=False,
                label=_("Data"),
                empty_label=_("A new snapshot of the current data"),
            )
        if self.spec.snapshot == Snapshot.Kind.RANKINGS:
            self.others.append("aggregation")
            self.fields["aggregation"] = forms.ChoiceField(
                required=False,
                label=_("Several judgments of a task"),
                choices=Snapshot.Aggregation.choices,
                help_text=_("Of a new snapshot; one that is chosen under Data has a mode already."),
            )

    @staticmethod
    def _default_label(project: Project, stage: str, role: str) -> str:
        try:
            default = launch.default_inputs(project, stage, given={}).get(role)
        except Refused:
            return _("None yet: train one first")
        if default is None:
            return _("The initial model") if role == RunInput.Role.REFERENCE else _("None: a new model")
        return _("%(model)s (default)") % {"model": default.label}

    def input_fields(self) -> list[forms.BoundField]:
        names = [*self.roles, *self.others, *(["snapshot"] if self.spec.snapshot else [])]
        return [self[name] for name in names]

    def _aggregation(self) -> str:
        """Empty where each judgment is taken as it is, and for stages that learn from none."""
        chosen = self.cleaned_data.get("aggregation") or ""
        return "" if chosen == Snapshot.Aggregation.RAW else chosen

    def start(self, *, by: User) -> list[TrainingRun]:
        """Queue the run, or one for each seed. Raises Refused."""
        chosen = {role: self.cleaned_data[role] for role in self.roles if self.cleaned_data.get(role)}
        given: dict[str, Any] = {
            "project": self.project,
            "by": by,
            "config": self.config(),
            "inputs": chosen,
            "snapshot": self.cleaned_data.get("snapshot"),
            "aggregation": self._aggregation(),
        }
        if self.stage == Stage.REWARD:
            return launch.start_seeds(seeds=self.cleaned_data["seeds"] or 1, **given)
        ensemble = list(self.cleaned_data.get(RunInput.Role.ENSEMBLE) or ())
        corpus = self.cleaned_data.get("corpus") or ""
        return [launch.start(stage=self.stage, ensemble=ensemble, corpus=corpus, **given)]


def _same(names: list[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


class _NamedVersions:
    """Labels of versions in a select field."""

    def label_from_instance(self, version: ModelVersion) -> str:
        name = f" ({version.base_model})" if version.base_model else ""
        in_use = _(", in use") if version.active else ""
        return f"{version.label}{name}{in_use}"


class VersionField(_NamedVersions, forms.ModelChoiceField):
    pass


class VersionsField(_NamedVersions, forms.ModelMultipleChoiceField):
    def clean(self, value: Any) -> Any:
        # A number beyond the column's range is no version's; SQLite would raise for it.
        for one in value or ():
            if not str(one).isdecimal() or len(str(one)) > MOST_DIGITS:
                message = self.error_messages["invalid_choice"]
                raise forms.ValidationError(message, code="invalid_choice", params={"value": str(one)[:MOST_DIGITS]})
        return super().clean(value)


class SampleForm(forms.Form):
    """Sample responses of the policy for the queue."""

    prompts = forms.IntegerField(
        label=gettext_lazy("Prompts"), min_value=1, max_value=MOST_PROMPTS, initial=DEFAULT_PROMPTS
    )
    samples = forms.IntegerField(
        label=gettext_lazy("Responses per prompt"),
        min_value=Project.MIN_RESPONSES,
        max_value=Project.MAX_RESPONSES,
        initial=4,
    )


class RoundsForm(forms.Form):
    rounds = forms.IntegerField(label=gettext_lazy("Rounds"), min_value=1, max_value=100, initial=1)


class LoopSettingsForm(forms.ModelForm):
    """Loop settings: automatic rounds, gates, and the settings of the three runs of a round."""

    class Meta:
        model = LoopSettings
        fields = (
            "enabled", "judgments_per_round", "aggregation", "prompts_per_round", "uncertain_first",
            "random_share", "tasks_scored",
        )  # fmt: skip
        labels = {
            "enabled": gettext_lazy("Start rounds automatically"),
            "judgments_per_round": gettext_lazy("New judgments that start a round"),
            "aggregation": gettext_lazy("Several judgments of a task"),
            "prompts_per_round": gettext_lazy("Prompts to sample per round"),
            "uncertain_first": gettext_lazy("Prioritise uncertain comparisons"),
            "random_share": gettext_lazy("Random share"),
            "tasks_scored": gettext_lazy("Comparisons scored per run"),
        }
        help_texts = {
            "enabled": "",
            "judgments_per_round": "",
            "aggregation": gettext_lazy("What the reward model of a round learns from."),
            "prompts_per_round": "",
            "uncertain_first": gettext_lazy(
                "The loop then trains reward ensembles, and comparisons with a large disagreement come first."
            ),
            "random_share": gettext_lazy(
                "Between 0 and 1. Their judgments are an unbiased sample, like those of held-out prompts and gold "
                "tasks."
            ),
            "tasks_scored": gettext_lazy(
                "From the front of the queue, whenever a reward model is promoted or new responses arrive."
            ),
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
            label=_("Reward model report"), required=False, choices=loop.ReportGate.choices,
            help_text=_("Checked before PPO. With few judgments the verdict is inconclusive."),
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
