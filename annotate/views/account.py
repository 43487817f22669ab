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
from django.views.decorators.http import require_http_methods

from ..models import User


class AccountForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "theme", "language")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        language = forms.ChoiceField(choices=[("", "As the browser"), *settings.LANGUAGES], required=False)
        self.fields["language"] = language


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def account(request: HttpRequest) -> HttpResponse:
    form = AccountForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("annotate:account")
    return render(request, "annotate/account.html", {"form": form})


@receiver(password_changed)
def one_time_password_is_gone(sender: Any, user: User, **kwargs: Any) -> None:
    """He chose a password himself: the site is open to him."""
    User.objects.filter(pk=user.pk, must_change_password=True).update(must_change_password=False)
