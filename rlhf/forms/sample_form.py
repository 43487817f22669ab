"""How many responses to how many prompts."""

from django import forms
from django.utils.translation import gettext_lazy

from annotate.models import Project
from rlhf.loop.sampling import DEFAULT_PROMPTS

MOST_PROMPTS = 10_000


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
