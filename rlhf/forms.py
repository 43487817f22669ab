"""Forms of runs and the loop. The fields of a stage come from its settings class in models_core.contract.settings."""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import Refused
from annotate.models import Project, Snapshot, User
from models_core.contract.errors import BadInput
from models_core.contract.settings import STAGES, Settings, parse, presets, subjects
from rlhf.loop import calibration_data, sampling
from rlhf.loop.prompts import PromptOrder
from rlhf.loop.rounds import gates, sampling_mix
from rlhf.loop.sampling import DEFAULT_PROMPTS
from rlhf.models import LoopSettings, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.reports import labels
from rlhf.runs import launch
from rlhf.runs.planning import differences
from rlhf.runs.planning.differences import Difference, Recipe
from rlhf.runs.runs import Origin
from rlhf.runs.stages import ppo, pretrain
from rlhf.runs.stages.registry import STAGE_SPECS
from rlhf.runs.storage import retention

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

PREFIX = "set_"
FIRST_SETTINGS = (
    "size", "method", "algorithm", "objective", "epochs", "episodes", "batch_size", "samples_per_prompt",
    "learning_rate", "kl_coef", "beta", "max_new_tokens", "temperature", "best_of", "weight_format",
)  # fmt: skip
"""Settings that are changed most; the others are folded."""
SAMPLING_OPTIONS = ("prompts", "samples", "order")
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


@dataclass(frozen=True, kw_only=True)
class ShownSetting:
    """A setting on a form. With values of the field `other` that aren't among `values` it has no effect."""

    field: forms.BoundField
    is_changed: bool
    other: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SubjectGroup:
    title: "StrOrPromise"
    settings: list[ShownSetting]

    @property
    def changed(self) -> int:
        """How many differ from their defaults."""
        return sum(setting.is_changed for setting in self.settings)

    @property
    def has_errors(self) -> bool:
        return any(setting.field.errors for setting in self.settings)


class SettingsForm(forms.Form):
    """The settings of a stage. `config` has those that differ from their defaults."""

    def __init__(self, *args: Any, stage: str, given: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stage = stage
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

    def essential_settings(self) -> list[ShownSetting]:
        return [self._shown_setting(name) for name in FIRST_SETTINGS if PREFIX + name in self.fields]

    def subject_groups(self) -> list[SubjectGroup]:
        """The settings that are not essential, by subject."""
        names = [field.name for field in self._shown() if field.name not in FIRST_SETTINGS]
        return [
            SubjectGroup(title=_(subject), settings=[self._shown_setting(name) for name in members])
            for subject, members in subjects.grouped(names)
        ]

    def _shown_setting(self, name: str) -> ShownSetting:
        other, values = subjects.ONLY_WITH.get(name, ("", ()))
        field = self[PREFIX + name]
        default = next(each.default for each in dataclasses.fields(self.settings) if each.name == name)
        is_changed = field.field.has_changed(default, field.value())
        if PREFIX + other not in self.fields:
            return ShownSetting(field=field, is_changed=is_changed)
        return ShownSetting(field=field, is_changed=is_changed, other=self[PREFIX + other].html_name, values=values)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                parse(self.settings, self.config())
            except BadInput as error:
                raise forms.ValidationError(str(error)) from None
        if self.stage == Stage.PPO and not self.errors:
            try:
                ppo.refuse_servers(self.config())
            except Refused as error:
                self.add_error(PREFIX + "rollouts_ahead", str(error))
        return cleaned

    def config(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        given = {field.name: self.cleaned_data[PREFIX + field.name] for field in self._shown()}
        defaults = {field.name: field.default for field in dataclasses.fields(self.settings)}
        return {name: value for name, value in given.items() if value != defaults[name]}


class RunForm(SettingsForm):
    """Inputs and settings of a new run: the defaults', a preset's, or those of the run that is cloned."""

    def __init__(
        self,
        *args: Any,
        project: Project,
        stage: str,
        preset: str = "",
        clone: TrainingRun | None = None,
        **kwargs: Any,
    ) -> None:
        given = presets.of(preset, stage) if preset else dict(clone.config) if clone else {}
        super().__init__(*args, stage=stage, given=differences.resolved(stage, given), **kwargs)
        self.project = project
        self._add_origin(preset=preset, clone=clone)
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
        if stage == Stage.SAMPLE:
            self._add_prompts(given)
        if stage == Stage.PRETRAIN:
            self.others.append("corpus")
            self.fields["corpus"] = forms.ChoiceField(
                required=False,
                label=_("Corpus"),
                choices=[("", _("Train prompts and demonstrations of this project")), *_same(pretrain.corpora())],
                help_text=_("Files (.txt, .jsonl) in the folder %(folder)s of the data folder can be chosen too.")
                % {"folder": pretrain.FOLDER},
            )
        if stage == Stage.PPO:
            self.others.append("ptx")
            self.fields["ptx"] = forms.ChoiceField(
                required=False,
                label=_("Pretraining text (PPO-ptx)"),
                choices=[
                    ("", _("None: PPO without a pretraining loss")),
                    (pretrain.PROJECT_TEXTS, _("Train prompts and demonstrations of this project")),
                    *_same(pretrain.corpora()),
                ],
                help_text=_("Its language-model loss counts ptx_coef times; it keeps the policy from forgetting."),
            )
            if "ptx_coef" in given:
                self.initial["ptx"] = pretrain.PROJECT_TEXTS
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
        if clone is not None:
            self._fill_inputs(clone)

    def _add_prompts(self, given: dict[str, Any]) -> None:
        """Which prompts are sampled, and how many responses to each."""
        self.others += SAMPLING_OPTIONS
        self.fields |= SampleForm().fields
        self.initial.update({"samples": self.project.responses_per_task, "order": PromptOrder.LEAST_COMPARED})
        self.fields["order"] = forms.ChoiceField(label=_("Which prompts"), choices=PromptOrder.choices)
        if "seed" not in given:  # the same seed would give the same responses
            self.initial[f"{PREFIX}seed"] = sampling.next_seed(self.project)

    def _add_origin(self, *, preset: str, clone: TrainingRun | None) -> None:
        """Hidden fields: with them the form is stored with its origin, and compared with it on the way."""
        hidden: dict[str, Any] = {"required": False, "widget": forms.HiddenInput}
        self.fields["preset"] = forms.ChoiceField(
            choices=[("", ""), *_same([*presets.for_stage(self.stage)])], **hidden
        )
        others = self.project.training_runs.filter(stage=self.stage)
        self.fields["cloned_from"] = forms.ModelChoiceField(queryset=others, **hidden)
        self.initial.update({"preset": preset, "cloned_from": clone.pk if clone else ""})

    def _fill_inputs(self, run: TrainingRun) -> None:
        versions = {item.role: item.version_id for item in run.run_inputs.all() if item.role in self.roles}
        ensemble = [item.version_id for item in run.run_inputs.all() if item.role == RunInput.Role.ENSEMBLE]
        self.initial.update({**versions, RunInput.Role.ENSEMBLE: ensemble})
        self.initial.update({name: run.options.get(name, "") for name in ("corpus", "ptx")})
        self.initial.update({name: run.options[name] for name in SAMPLING_OPTIONS if name in run.options})
        # One that isn't built yet, or failed, can't be chosen: the clone asks for a new one, as the difference says.
        if run.snapshot is not None and run.snapshot.state == Snapshot.State.READY:
            self.initial.update({"snapshot": run.snapshot_id, "aggregation": run.snapshot.aggregation})

    @staticmethod
    def _default_label(project: Project, stage: str, role: str) -> str:
        try:
            default = launch.default_input(project, stage, role)
        except Refused:
            return _("None yet: train one first")
        if default is None and stage == Stage.SAMPLE:
            return _("The reward model in use, where best_of is above 1")
        if default is None:
            return _("The initial model") if role == RunInput.Role.REFERENCE else _("None: a new model")
        return _("%(model)s (default)") % {"model": default.label}

    def input_fields(self) -> list[forms.BoundField]:
        names = [*self.roles, *self.others, *(["snapshot"] if self.spec.snapshot else [])]
        return [self[name] for name in names]

    def sent_as_it_is(self) -> "RunForm":
        """The bound form that a browser would send without any change."""
        data = QueryDict(mutable=True)
        for name in self.fields:
            value = self[name].value()
            if value is not None and value is not False:  # 0 is sent
                data.setlist(name, [str(each) for each in (value if isinstance(value, list) else [value])])
        return RunForm(data, project=self.project, stage=self.stage)

    def preset_cards(self) -> Mapping[str, presets.Preset]:
        return presets.for_stage(self.stage)

    def calibration(self) -> dict[str, int] | None:
        """For a reward model: the responses that there are for the calibration of its scores."""
        if self.stage != Stage.REWARD:
            return None
        try:
            model = self._value("model") or launch.default_inputs(self.project, self.stage, given={})["model"]
        except Refused:
            return None
        return calibration_data.counts(self.project, reference=model) | {"fewest": calibration_data.FEWEST}

    def recipe(self) -> Recipe:
        """What would be started now. For a valid form."""
        inputs = launch.default_inputs(self.project, self.stage, given=self._chosen())
        named = {role: version.label for role, version in inputs.items()}
        if others := self._ensemble():
            named[RunInput.Role.ENSEMBLE] = ", ".join(version.label for version in others)
        return Recipe(
            stage=self.stage,
            settings=differences.resolved(self.stage, self.config()),
            inputs=named,
            snapshot=self.cleaned_data.get("snapshot"),
            options=self._options(),
        )

    def changes_from_clone(self) -> list[Difference] | None:
        """None where no run is cloned. For a valid form; raises Refused where an input is missing."""
        source = self.cleaned_data.get("cloned_from")
        return differences.between(differences.recipe_of(source), self.recipe()) if source else None

    def models(self) -> list[ModelVersion]:
        """The models that the run would read, the one that learns first. For a valid form; raises Refused."""
        inputs = launch.default_inputs(self.project, self.stage, given=self._chosen())
        return [*inputs.values(), *self._ensemble()]

    def _chosen(self) -> dict[str, ModelVersion]:
        return {role: self.cleaned_data[role] for role in self.roles if self.cleaned_data.get(role)}

    def _ensemble(self) -> list[ModelVersion]:
        return list(self.cleaned_data.get(RunInput.Role.ENSEMBLE) or ())

    def _options(self) -> dict[str, Any]:
        """As the run keeps them: the usual order of prompts by being absent."""
        names = ("corpus", "ptx", *SAMPLING_OPTIONS)
        found = {name: value for name in names if (value := self.cleaned_data.get(name))}
        if found.get("order") == PromptOrder.LEAST_COMPARED:
            del found["order"]
        return found

    def _value(self, name: str) -> Any:
        """Of a field that holds a model: the valid one of a bound form, the first one of another."""
        if self.is_bound:
            return getattr(self, "cleaned_data", {}).get(name)
        key = self.initial.get(name)
        return self.project.model_versions.filter(pk=key).first() if key else None

    def _aggregation(self) -> str:
        """Empty where each judgment is taken as it is, and for stages that learn from none."""
        chosen = self.cleaned_data.get("aggregation") or ""
        return "" if chosen == Snapshot.Aggregation.RAW else chosen

    def measure(self, *, by: User) -> TrainingRun:
        """Queue a measurement of the run. Raises Refused."""
        return launch.start(
            stage=self.stage, ensemble=self._ensemble(), measures=True, **(self._given(by=by) | self._options())
        )

    def start(self, *, by: User) -> list[TrainingRun]:
        """Queue the run, or one for each seed. Raises Refused."""
        given = self._given(by=by)
        if self.stage == Stage.REWARD:
            return launch.start_seeds(seeds=self.cleaned_data["seeds"] or 1, **given)
        return [launch.start(stage=self.stage, ensemble=self._ensemble(), **(given | self._options()))]

    def _given(self, *, by: User) -> dict[str, Any]:
        return {
            "project": self.project,
            "by": by,
            "config": self.config() | self._seed(),
            "inputs": self._chosen(),
            "snapshot": self.cleaned_data.get("snapshot"),
            "aggregation": self._aggregation(),
            "origin": Origin(
                preset=self.cleaned_data.get("preset") or "", cloned_from=self.cleaned_data.get("cloned_from")
            ),
        }

    def _seed(self) -> dict[str, Any]:
        """Of sampling: 0 is one that somebody chose, where no seed at all would be the next one."""
        return {"seed": self.cleaned_data[f"{PREFIX}seed"]} if self.stage == Stage.SAMPLE else {}


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


class RetentionForm(forms.Form):
    """After how many days the checkpoints of an ended run may go."""

    days = forms.IntegerField(
        label=gettext_lazy("Days since the end of the run"),
        min_value=0,
        max_value=retention.MOST_DAYS,
        initial=retention.DEFAULT_DAYS,
    )


class RoundsForm(forms.Form):
    rounds = forms.IntegerField(label=gettext_lazy("Rounds"), min_value=1, max_value=100, initial=1)


class MixForm(forms.Form):
    """What a round samples: rows of a version, a temperature, prompts and a share; rows without a share are left out.

    `parts` has them as they are stored.
    """

    prefix = "mix"

    def __init__(self, data: Any = None, *, given: list[dict[str, Any]], prompts: int) -> None:
        super().__init__(data)
        self.given, self.prompts = given, prompts
        for number in range(sampling_mix.MOST_PARTS):
            part = given[number] if number < len(given) else {}
            for name, field in self._row_fields(number + 1).items():
                self.fields[f"{number}-{name}"] = field
                self.initial[f"{number}-{name}"] = part.get(name)

    @staticmethod
    def _row_fields(number: int) -> dict[str, forms.Field]:
        def label(what: str) -> str:
            return _("Part %(number)s: %(what)s") % {"number": number, "what": what}

        any_number = forms.NumberInput(attrs={"step": "any", "min": 0})
        return {
            "version": forms.ChoiceField(
                required=False, label=label(_("version")), choices=sampling_mix.MixVersion.choices
            ),
            "temperature": forms.FloatField(required=False, label=label(_("temperature")), widget=any_number),
            "prompts": forms.ChoiceField(required=False, label=label(_("prompts")), choices=PromptOrder.choices),
            "share": forms.FloatField(
                required=False,
                label=label(_("share")),
                widget=forms.NumberInput(attrs={"step": "any", "min": 0, "max": 1}),
            ),
        }

    def rows(self) -> list[list[forms.BoundField]]:
        names = ("version", "temperature", "prompts", "share")
        return [[self[f"{number}-{name}"] for name in names] for number in range(sampling_mix.MOST_PARTS)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self.parts: list[dict[str, Any]] = []
        if not self.errors:
            try:
                self.parts = [part.as_json() for part in sampling_mix.checked(self._given(cleaned))]
            except Refused as error:
                raise forms.ValidationError(str(error)) from None
        return cleaned

    def summary(self) -> str:
        """What the shares come to, or what is wrong with them, while somebody types."""
        if self.is_bound and not self.is_valid():
            return " ".join(str(error) for errors in self.errors.values() for error in errors)
        parts = sampling_mix.checked(self.parts if self.is_bound else self.given)
        if not parts:
            return _("Without parts the policy in use responds to the prompts with the fewest comparisons.")
        counts = sampling_mix.allocated(parts, prompts=self.prompts)
        return _("The shares sum to 1. Prompts of each part: %(counts)s.") % {"counts": ", ".join(map(str, counts))}

    @staticmethod
    def _given(cleaned: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows with a share or a temperature, up to the last of them."""
        names = ("version", "temperature", "prompts", "share")
        rows = [{name: cleaned.get(f"{number}-{name}") for name in names} for number in range(sampling_mix.MOST_PARTS)]
        return [row for row in rows if row["share"] is not None or row["temperature"] is not None]


class LoopSettingsForm(forms.ModelForm):
    """Loop settings by subject, and the settings of the runs of a round."""

    class Meta:
        model = LoopSettings
        fields = (
            "enabled", "judgments_per_round", "aggregation", "sft_demonstrations", "promotion", "evaluation_prompts",
            "evaluation_share", "prompts_per_round", "uncertain_first", "random_share", "tasks_scored", "rolling",
            "rolling_judgments", "rolling_minutes", "rolling_start", "rolling_keep",
        )  # fmt: skip
        labels = {
            "enabled": gettext_lazy("Start rounds automatically"),
            "judgments_per_round": gettext_lazy("New judgments that start a round"),
            "aggregation": gettext_lazy("Several judgments of a task"),
            "sft_demonstrations": gettext_lazy("New demonstrations for an SFT step"),
            "promotion": gettext_lazy("Promotion of the policy"),
            "evaluation_prompts": gettext_lazy("Most prompts of the evaluation"),
            "evaluation_share": gettext_lazy("Share of the tasks for the evaluation"),
            "prompts_per_round": gettext_lazy("Prompts to sample per round"),
            "uncertain_first": gettext_lazy("Prioritise uncertain comparisons"),
            "random_share": gettext_lazy("Random share"),
            "tasks_scored": gettext_lazy("Comparisons scored per run"),
            "rolling": gettext_lazy("Train the reward model on while people label"),
            "rolling_judgments": gettext_lazy("After so many new judgments"),
            "rolling_minutes": gettext_lazy("Or after so many minutes, with at least one"),
            "rolling_start": gettext_lazy("Trained from"),
            "rolling_keep": gettext_lazy("Versions whose files are kept"),
        }
        help_texts = {
            "enabled": gettext_lazy("Rounds that follow another one wait for as many new judgments too."),
            "judgments_per_round": "",
            "aggregation": gettext_lazy("What the reward model of a round learns from."),
            "sft_demonstrations": gettext_lazy(
                "With as many new ones a round fine-tunes on all demonstrations first, and its policy begins from "
                "that. 0: never."
            ),
            "promotion": "",
            "evaluation_prompts": gettext_lazy("It ends earlier where the difference is plain."),
            "evaluation_share": gettext_lazy("Between 0 and 1: how many of a labeler’s tasks belong to it."),
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
            "rolling": gettext_lazy("Each new one is put into use, and its scores order the queue."),
            "rolling_judgments": "",
            "rolling_minutes": "",
            "rolling_start": gettext_lazy("Held-out judgments stay held out either way."),
            "rolling_keep": gettext_lazy("Of older ones the figures stay, and the files go."),
        }

    STAGES = {
        "sft_config": Stage.SFT,
        "reward_config": Stage.REWARD,
        "ppo_config": Stage.PPO,
        "sampling": Stage.SAMPLE,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, gate in gates.GATES.items():
            self.fields[f"gate_{name}"] = forms.FloatField(
                label=gate.label, required=False, min_value=0, max_value=gate.highest,
                widget=forms.NumberInput(attrs={"step": "any"}), help_text=_("Empty: no gate."),
            )  # fmt: skip
            self.initial[f"gate_{name}"] = self.instance.gates.get(name)
        self.fields["gate_win_rate"].help_text = _(
            "Above 0.5 the policy is better than the one in use. Labelers compare them before it is put into use. "
            "Empty: no gate."
        )
        self.fields[f"gate_{gates.REPORT_GATE}"] = forms.ChoiceField(
            label=gates.REPORT_LABEL, required=False, choices=gates.ReportGate.choices,
            help_text=_("Checked before PPO. With few judgments the verdict is inconclusive."),
        )  # fmt: skip
        self.initial[f"gate_{gates.REPORT_GATE}"] = self.instance.gates.get(gates.REPORT_GATE, "")
        data = self.data if self.is_bound else None
        self.mix = MixForm(data, given=self.instance.sampling_mix, prompts=self.instance.prompts_per_round)
        self.stage_forms = {
            name: SettingsForm(data, stage=stage, given=getattr(self.instance, name), prefix=name)
            for name, stage in self.STAGES.items()
        }

    def _fields(self, *names: str) -> list[forms.BoundField]:
        return [self[name] for name in names]

    def start_fields(self) -> list[forms.BoundField]:
        return self._fields("enabled", "judgments_per_round", "aggregation", "sft_demonstrations")

    def gate_fields(self) -> list[forms.BoundField]:
        return self._fields(*(f"gate_{name}" for name in (*gates.GATES, gates.REPORT_GATE)))

    def promotion_fields(self) -> list[forms.BoundField]:
        return self._fields("promotion", "evaluation_prompts", "evaluation_share")

    def sampling_fields(self) -> list[forms.BoundField]:
        return self._fields("prompts_per_round")

    def active_learning_fields(self) -> list[forms.BoundField]:
        return self._fields("uncertain_first", "random_share", "tasks_scored")

    def rolling_fields(self) -> list[forms.BoundField]:
        return self._fields("rolling", "rolling_judgments", "rolling_minutes", "rolling_start", "rolling_keep")

    def stage_groups(self) -> list[tuple[str, SettingsForm]]:
        return [(str(Stage(self.STAGES[name]).label), form) for name, form in self.stage_forms.items()]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        project, share = self.instance.project, cleaned.get("evaluation_share")
        taken = project.gold_rate + project.repeat_rate
        if cleaned.get("gate_win_rate") is not None and share is not None and taken + share > 1:
            self.add_error(
                "evaluation_share",
                _("Gold tasks and repeats take %(taken)s of the tasks, so the share can be at most %(left)s.")
                % {"taken": f"{100 * taken:.0f}%", "left": f"{max(0.0, 1 - taken):.2f}"},
            )
        return cleaned

    def is_valid(self) -> bool:
        return all([super().is_valid(), self.mix.is_valid(), *(form.is_valid() for form in self.stage_forms.values())])

    def save(self, commit: bool = True) -> LoopSettings:
        bounds = {name: self.cleaned_data[f"gate_{name}"] for name in (*gates.GATES, gates.REPORT_GATE)}
        self.instance.gates = {name: bound for name, bound in bounds.items() if bound not in (None, "")}
        self.instance.sampling_mix = self.mix.parts
        for name, form in self.stage_forms.items():
            setattr(self.instance, name, form.config())
        return super().save(commit=commit)
