"""One's own account: name, look, language, and the password that a one-time password has to become."""

from typing import Any

from allauth.account.signals import password_changed
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from annotate.labeling.sensitive_content import marking
from annotate.models import User
from annotate.rendering import local_times
from annotate.views.preferences import remember


class AccountForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "language", "time_zone", "theme", "sensitive_choice")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["language"] = forms.ChoiceField(
            label=_("Language"), choices=[("", _("As the browser")), *settings.LANGUAGES], required=False
        )
        self.fields["time_zone"] = forms.ChoiceField(
            label=_("Time zone"),
            choices=[("", _("As the browser")), *((name, name) for name in sorted(local_times.zones()))],
            required=False,
        )
        self.fields["theme"].label = _("Colours")
        # Shorter than the model's labels, which a narrow page cuts off: what they share stands below.
        choice = User.SensitiveChoice
        self.fields["sensitive_choice"] = forms.ChoiceField(
            label=_("Prompts that may upset"),
            choices=[
                (choice.WARNED, _("Where everybody gets them")),
                (choice.WILLING, _("Also where only volunteers get them")),
                (choice.NEVER, choice.NEVER.label),
            ],
            help_text=_("Always after a warning; each project decides who gets them."),
            required=False,
        )


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def account(request: HttpRequest) -> HttpResponse:
    form = AccountForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        if "sensitive_choice" in form.changed_data:
            marking.apply_choice(form.instance)
        translation.activate(form.instance.language or translation.get_language_from_request(request))
        messages.success(request, _("Saved."))
        response = redirect("annotate:account")
        remember(response, language=form.cleaned_data["language"], theme=form.cleaned_data["theme"])
        return response
    return render(request, "annotate/account.html", {"form": form})


@receiver(password_changed)
def one_time_password_is_gone(sender: Any, user: User, **kwargs: Any) -> None:
    """They chose a password of their own: the site is open to them."""
    User.objects.filter(pk=user.pk, must_change_password=True).update(must_change_password=False, one_time_until=None)
