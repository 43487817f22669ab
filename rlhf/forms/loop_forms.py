"""Starting rounds, and the settings of the loop."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from rlhf.forms.mix_form import MixForm
from rlhf.forms.stage_settings import SettingsForm
from rlhf.loop.rounds import gates
from rlhf.models import LoopSettings, Stage


class RoundsForm(forms.Form):
    rounds = forms.IntegerField(label=gettext_lazy("Rounds"), min_value=1, max_value=100, initial=1)


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
