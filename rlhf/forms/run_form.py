"""The form of a new run: inputs, settings, and what of it differs from a preset or from another run."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.models import Project, Snapshot, User
from models_core.contract.settings import presets
from rlhf.forms.sample_form import SampleForm
from rlhf.forms.stage_settings import PREFIX, SettingsForm
from rlhf.forms.version_fields import VersionField, VersionsField
from rlhf.loop import calibration_data, sampling
from rlhf.loop.prompts import PromptOrder
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import launch
from rlhf.runs.planning import differences
from rlhf.runs.planning.differences import Difference, Recipe
from rlhf.runs.runs import Origin
from rlhf.runs.stages import pretrain
from rlhf.runs.stages.registry import STAGE_SPECS

SAMPLING_OPTIONS = ("prompts", "samples", "order")


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
