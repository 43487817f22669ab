"""Forms of AI labelers. The fields of the settings come from the stage's settings class."""

import dataclasses
from typing import Any, Self

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.labeling.ai_judgments import LONGEST_NAME
from annotate.models import AILabeler, Project
from models_core.contract.settings import JudgeConfig
from rlhf.ai_feedback import endpoints, judge_runs
from rlhf.ai_feedback.judges import LONGEST_TEXT, PromptTexts
from rlhf.forms.stage_settings import PREFIX, SettingsForm
from rlhf.models import AIJudge, JudgePrompt, ModelVersion, Stage

ENDPOINT_SETTINGS = (
    *("max_requests", "max_tokens", "max_cost", "input_token_cost", "output_token_cost", "requests_per_minute"),
    *("served_model", "server_requests", "server_timeout", "server_retries", "judge_retries", "max_new_tokens"),
)
REWARD_SETTINGS = ("tie_margin", "max_length", "max_tokens_per_forward")


class AILabelerForm(forms.Form):
    """A new AI labeler."""

    name = forms.CharField(
        max_length=LONGEST_NAME,
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("Stands with its judgments on pages and in exports."),
        error_messages={"required": gettext_lazy("Give the AI labeler a name that tells what it is.")},
    )
    model = forms.ChoiceField(
        label=gettext_lazy("Judges with"),
        error_messages={"required": gettext_lazy("Choose a server or a reward model.")},
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        servers = [(f"endpoint:{name}", f"{name} ({found.address})") for name, found in endpoints.known().items()]
        rewards = project.model_versions.filter(kind=ModelVersion.Kind.REWARD).order_by("-pk")
        models = [(f"reward:{version.pk}", version.label) for version in rewards]
        groups = [(_("Chat model on a server"), servers), (_("Reward model"), models)]
        choices: Any = [("", _("Choose")), *[group for group in groups if group[1]]]
        self.has_choices = bool(servers or models)
        self.fields["model"].choices = choices  # type: ignore[attr-defined]

    def values(self) -> dict[str, Any]:
        kind, _colon, which = self.cleaned_data["model"].partition(":")
        if kind == "endpoint":
            return {"name": self.cleaned_data["name"], "endpoint": which}
        version = self.project.model_versions.get(pk=int(which))
        return {"name": self.cleaned_data["name"], "reward_model": version}


class JudgePromptForm(forms.Form):
    """What a chat model is asked."""

    instructions = forms.CharField(
        max_length=LONGEST_TEXT,
        label=gettext_lazy("Instructions"),
        help_text=gettext_lazy("The system prompt. How the verdict is to be written is added to it."),
        widget=forms.Textarea(attrs={"rows": 5}),
    )
    rubric = forms.CharField(
        max_length=LONGEST_TEXT,
        label=gettext_lazy("Rubric"),
        help_text=gettext_lazy("What makes a response better. Take the words of the guidelines that labelers read."),
        widget=forms.Textarea(attrs={"rows": 5}),
    )
    constitution = forms.CharField(
        required=False,
        max_length=LONGEST_TEXT,
        label=gettext_lazy("Constitution"),
        help_text=gettext_lazy(
            "Principles, one a line. With them the model criticises the response that it ranks first and writes a "
            "revision, which becomes a new response marked as AI-made. Empty: no revisions."
        ),
        widget=forms.Textarea(attrs={"rows": 4}),
    )

    @classmethod
    def of(cls, prompt: JudgePrompt) -> Self:
        names = ("instructions", "rubric", "constitution")
        return cls(initial={name: getattr(prompt, name) for name in names})

    def texts(self) -> PromptTexts:
        plain = {name: value.replace("\r\n", "\n").strip() for name, value in self.cleaned_data.items()}
        return PromptTexts(**plain)


class JudgeSettingsForm(SettingsForm):
    """The bound, the weight, and the settings of the stage that apply to the kind of judge."""

    def __init__(self, *args: Any, labeler: AILabeler, **kwargs: Any) -> None:
        self.judge: AIJudge = labeler.judge
        super().__init__(*args, stage=Stage.JUDGE, given=self.judge.config, **kwargs)
        own = {
            "least_agreement": forms.FloatField(
                min_value=0,
                max_value=1,
                label=_("Least agreement with people"),
                help_text=_(
                    "The lower end of the 95% interval must reach it before judgments of a use case may count; people "
                    "often agree with each other on 0.6 to 0.8 of such pairs."
                ),
                widget=forms.NumberInput(attrs={"step": "any"}),
            ),
            "least_tasks": forms.IntegerField(
                min_value=2,
                max_value=100_000,
                label=_("Least tasks"),
                help_text=_("Tasks of a use case that people judged too, before its judgments may count there."),
            ),
            "weight": forms.FloatField(
                min_value=0,
                max_value=100,
                label=_("Weight"),
                help_text=_(
                    "Of its judgments in snapshots and trainings, where a person’s have 1. The setting ai_weight of a "
                    "training multiplies it."
                ),
                widget=forms.NumberInput(attrs={"step": "any"}),
            ),
        }
        self.own_names = tuple(own)
        self.fields |= own
        self.initial.update({name: getattr(labeler, name) for name in own})

    def _shown(self) -> "list[dataclasses.Field[Any]]":
        names = ENDPOINT_SETTINGS if self.judge.kind == AIJudge.Kind.ENDPOINT else REWARD_SETTINGS
        of_name = {field.name: field for field in dataclasses.fields(JudgeConfig)}
        return [of_name[name] for name in names]

    def own_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.own_names]

    def stage_fields(self) -> list[forms.BoundField]:
        return [self[PREFIX + field.name] for field in self._shown()]

    def values(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in self.own_names} | {"config": self.config()}


class JudgeRunForm(forms.Form):
    """A run of an AI labeler."""

    choice = forms.ChoiceField(label=gettext_lazy("Tasks"), choices=judge_runs.Choice.choices)
    most = forms.IntegerField(
        label=gettext_lazy("Most tasks"), min_value=1, max_value=judge_runs.MOST_TASKS, initial=200
    )
    adds_comparisons = forms.BooleanField(
        required=False,
        initial=True,
        label=gettext_lazy("Let people compare each revised response with its original"),
    )
