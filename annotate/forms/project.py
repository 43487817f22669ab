"""What a manager enters of a project's settings."""

from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from annotate.forms.rubric import PRESETS, CriteriaField, FlagsField
from annotate.models import Project
from annotate.people.members import MOST_A_DAY
from annotate.people.project_templates import ProjectTemplate
from annotate.people.projects import LONGEST_GUIDELINES

QUALITY = (
    *("overlap_least", "overlap_most", "overlap_agreement", "gold_rate", "repeat_rate", "check_window"),
    *("check_minimum", "gold_threshold", "gold_action", "repeat_threshold", "repeat_action"),
)
"""Settings of adaptive overlap and hidden checks, each of which may be left out of what is sent."""


class ProjectForm(forms.Form):
    """What may be set when a project is opened and afterwards. `changes` are arguments of create and edit_project."""

    name = forms.CharField(max_length=120, label=_("Name"))
    description = forms.CharField(
        label=_("Description"),
        max_length=500,
        required=False,
        help_text=_("One or two sentences for the list of projects."),
    )
    language = forms.CharField(
        label=_("Language"),
        max_length=10,
        initial="en",
        validators=[
            RegexValidator(r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", _("A language tag is such as en or zh-hans."))
        ],
        help_text=_("Of the prompts and responses, as a tag such as en or zh-hans."),
    )
    responses_per_task = forms.IntegerField(
        label=_("Responses to rank at once (K)"),
        min_value=Project.MIN_RESPONSES,
        max_value=Project.MAX_RESPONSES,
        initial=4,
        help_text=_("2 to 9. K responses make K(K-1)/2 comparisons. Applies to tasks made from now on."),
    )
    overlap = forms.IntegerField(
        label=_("Judgments per task (overlap)"),
        min_value=1,
        max_value=50,
        initial=1,
        help_text=_("How many labelers judge the same task. A change applies to open tasks at once."),
    )
    weekly_judgments = forms.IntegerField(
        label=_("Judgments planned per week"),
        required=False,
        min_value=1,
        max_value=10_000_000,
        help_text=_("The dashboard compares the week with it. Empty: no plan."),
    )
    daily_limit = forms.IntegerField(
        label=_("Judgments a day and labeler"),
        required=False,
        min_value=1,
        max_value=MOST_A_DAY,
        help_text=_("At most; empty for no limit. A member may have a limit of their own, on People."),
    )
    adaptive_overlap = forms.BooleanField(
        label=_("Adapt the overlap to agreement"),
        required=False,
        help_text=_("A task begins with the least number of judgments and gets one more as long as they disagree."),
    )
    overlap_least = forms.IntegerField(
        label=_("Least judgments"),
        min_value=2,
        max_value=50,
        initial=2,
        required=False,
        help_text=_("After so many, agreement ends a task."),
    )
    overlap_most = forms.IntegerField(
        label=_("Most judgments"),
        min_value=2,
        max_value=50,
        initial=5,
        required=False,
        help_text=_("Disagreement asks for no more than this; not below the overlap."),
    )
    overlap_agreement = forms.FloatField(
        label=_("Agreement that ends a task"),
        min_value=0,
        max_value=1,
        initial=0.8,
        required=False,
        help_text=_("Share of pairs of responses on which its labelers agree, from 0 to 1."),
    )
    gold_rate = forms.FloatField(
        label=_("Gold tasks"),
        min_value=0,
        max_value=1,
        initial=0,
        required=False,
        help_text=_("Share of a labeler's tasks whose order is known, from 0 to 1; they look like all others."),
    )
    repeat_rate = forms.FloatField(
        label=_("Repeats"),
        min_value=0,
        max_value=1,
        initial=0,
        required=False,
        help_text=_("Share of a labeler's tasks that they have judged before, from 0 to 1."),
    )
    check_window = forms.IntegerField(
        label=_("Checks that count"),
        min_value=1,
        max_value=1_000,
        initial=20,
        required=False,
        help_text=_("Thresholds look at so many of a labeler's latest checks of a kind."),
    )
    check_minimum = forms.IntegerField(
        label=_("Least checks"),
        min_value=1,
        max_value=1_000,
        initial=10,
        required=False,
        help_text=_("With fewer, nothing follows."),
    )
    gold_threshold = forms.FloatField(
        label=_("Least accuracy on gold tasks"),
        min_value=0,
        max_value=1,
        required=False,
        help_text=_("Share of known pairs, from 0 to 1; empty: nothing is asked for."),
    )
    gold_action = forms.ChoiceField(
        label=_("Below it"),
        choices=Project.CheckAction.choices,
        initial=Project.CheckAction.WARN,
        required=False,
        help_text=_("The labeler reads why, and a manager can undo it."),
    )
    repeat_threshold = forms.FloatField(
        label=_("Least self-consistency"),
        min_value=0,
        max_value=1,
        required=False,
        help_text=_("Share of pairs judged the same way twice, from 0 to 1; empty: nothing is asked for."),
    )
    repeat_action = forms.ChoiceField(
        label=_("Below it"),
        choices=Project.CheckAction.choices,
        initial=Project.CheckAction.WARN,
        required=False,
        help_text=_("The labeler reads why, and a manager can undo it."),
    )
    lease_minutes = forms.IntegerField(
        label=_("Minutes to hold a task"),
        min_value=1,
        max_value=24 * 60,
        initial=30,
        help_text=_("A task that nobody touched for this long goes to somebody else. Late work is kept."),
    )
    margin_input = forms.ChoiceField(
        label=_("Strength of preference (two responses)"),
        choices=Project.MarginInput.choices,
        initial=Project.MarginInput.LEVELS,
        help_text=_("Asked where a task has two responses: Llama 2's levels, or order and strength on one scale."),
    )
    consensus_method = forms.ChoiceField(
        label=_("Consensus of several judgments"),
        required=False,
        choices=Project.ConsensusMethod.choices,
        initial=Project.ConsensusMethod.CROWD_BT,
        help_text=_("How the judgments of a task become one order. The judgments themselves are kept as they are."),
    )
    review_below = forms.FloatField(
        label=_("A task waits for review below"),
        required=False,
        min_value=0,
        max_value=1,
        initial=0.5,
        help_text=_("0 to 1: when its labelers' agreement, or the confidence of their consensus, is lower."),
    )
    adjudication_view = forms.ChoiceField(
        label=_("Labelers' orders, to a reviewer who adjudicates"),
        required=False,
        choices=Project.AdjudicationView.choices,
        initial=Project.AdjudicationView.CHOICE,
        help_text=_("What is hidden is not in the page."),
    )
    mask_model_names = forms.BooleanField(
        label=_("Mask model names"),
        required=False,
        help_text=_("In responses that say which model wrote them. Such responses are flagged in any case."),
    )
    sensitive_rule = forms.ChoiceField(
        label=_("Prompts that may upset are given to"),
        required=False,
        choices=Project.SensitiveRule.choices,
        initial=Project.SensitiveRule.WARN,
        help_text=_("The guidelines page says so too. Labelers who opted out never get them."),
    )
    guidelines = forms.CharField(
        label=_("Guidelines"),
        required=False,
        max_length=LONGEST_GUIDELINES,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 12}),
        help_text=_("Criteria of a better response. Markdown. Each change makes a new version."),
    )
    preset = forms.ChoiceField(
        label=_("Rubric"),
        required=False,
        choices=[("", _("As written below")), *((key, preset[0]) for key, preset in PRESETS.items())],
        help_text=_("Criteria and flags of each response besides its rank. A preset replaces the lines below."),
    )
    criteria = CriteriaField(
        label=_("Criteria"),
        required=False,
        help_text=_(
            "Ratings, one a line:  name | label | 1-7 | help | 7: Excellent; 1: Terrible  (the last two if you like)"
        ),
    )
    flags = FlagsField(
        label=_("Flags"), required=False, help_text=_("Yes-or-no marks, one a line:  name | label | help")
    )

    @classmethod
    def of(cls, project: Project, data: Any = None) -> "ProjectForm":
        guidelines, rubric = project.guidelines, project.rubric
        initial = {name: getattr(project, name) for name in cls.base_fields if hasattr(project, name)}
        initial |= {
            "guidelines": guidelines.text if guidelines else "",
            "criteria": rubric.criteria if rubric else [],
            "flags": rubric.flags if rubric else [],
        }
        return cls(data, initial=initial)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in ("sensitive_rule", "consensus_method", "adjudication_view", "review_below", *QUALITY):
            # An empty field that isn't empty by choice leaves the setting as it is.
            if cleaned.get(name) in (None, "") and not (name in self.data and name.endswith("_threshold")):
                cleaned.pop(name, None)
        if "gold_rate" not in self.data:
            # A form without these settings says nothing of them, and an unchecked box is no more than absent.
            cleaned.pop("adaptive_overlap", None)
        if preset := cleaned.pop("preset", ""):
            _label, criteria, flags = PRESETS[preset]
            cleaned["criteria"], cleaned["flags"] = (
                CriteriaField(required=False).clean(criteria),
                FlagsField(required=False).clean(flags),
            )
            self.errors.pop("criteria", None)
            self.errors.pop("flags", None)
        return cleaned

    @classmethod
    def of_template(cls, template: ProjectTemplate) -> "ProjectForm":
        """A new project's form, filled in."""
        return cls(initial=template.values())

    @property
    def changes(self) -> dict[str, Any]:
        return self.cleaned_data


class CopyForm(forms.Form):
    """What a copy of a project takes with it besides settings, guidelines and rubric."""

    name = forms.CharField(max_length=120, label=_("Name of the copy"))
    exam = forms.BooleanField(
        label=_("With the qualification exam"),
        required=False,
        initial=True,
        help_text=_("Its comparisons with their known orders. Attempts stay behind."),
    )
    people = forms.BooleanField(
        label=_("With the people"), required=False, initial=True, help_text=_("Everybody in the roles that they have.")
    )
