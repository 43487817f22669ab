"""What a manager enters to bring people in, and what whoever was invited enters to make an account."""

import re
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import Membership
from annotate.people.members import MOST_A_DAY

NAME_ATTRIBUTES = {"autocapitalize": "none", "spellcheck": "false"}


class InviteForm(forms.Form):
    label = forms.CharField(
        max_length=150,
        required=False,
        label=gettext_lazy("For whom"),
        help_text=gettext_lazy("A note for the managers of this project, such as a name. It makes no account."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    roles = forms.MultipleChoiceField(
        label=gettext_lazy("Roles"),
        choices=Membership.Role.choices,
        initial=[Membership.Role.LABELER.value],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one role.")},
    )


class WorkRulesForm(forms.Form):
    """What the queue gives a member. `changes` are arguments of members.set_work_rules."""

    daily_limit = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_A_DAY,
        label=gettext_lazy("Judgments a day"),
        help_text=gettext_lazy("Empty: the project’s limit."),
    )
    languages = forms.CharField(
        required=False,
        max_length=200,
        label=gettext_lazy("Languages they read"),
        help_text=gettext_lazy("Tags such as en, zh. Empty: all."),
        widget=forms.TextInput(attrs={"autocomplete": "off", **NAME_ATTRIBUTES}),
    )
    skills = forms.CharField(
        required=False,
        max_length=1_000,
        label=gettext_lazy("Skills"),
        help_text=gettext_lazy("Names with commas between. They also get tasks that need one of these."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    @classmethod
    def of(cls, membership: Membership, data: Any = None) -> "WorkRulesForm":
        return cls(data, initial=cls._initial(membership), auto_id=f"id_{membership.user_id}_%s")

    @classmethod
    def fields_of(cls, memberships: Iterable[Membership]) -> Iterator[SafeString]:
        """The fields of each of many forms that nobody has sent, as annotate/form_fields.html renders them.

        It is rendered once with stand-ins, which nobody can have written: fifty forms took a quarter of a second.
        """
        stand_in = secrets.token_hex(16)
        blank = cls(initial={name: f"{stand_in}{name};" for name in cls.base_fields}, auto_id=f"id_{stand_in}user;_%s")
        html = render_to_string("annotate/form_fields.html", {"form": blank})
        parts = re.split(rf"{stand_in}(\w+);", html)
        for membership in memberships:
            values = {"user": membership.user_id, **cls._initial(membership)}
            filled = (
                escape("" if (value := values[part]) is None else value) if number % 2 else part
                for number, part in enumerate(parts)
            )
            yield mark_safe("".join(filled))  # rendered by the template, and escaped

    @staticmethod
    def _initial(membership: Membership) -> dict[str, Any]:
        """Their skills are read already where there are many members."""
        return {
            "daily_limit": membership.daily_limit,
            "languages": ", ".join(membership.languages),
            "skills": ", ".join(sorted(skill.name for skill in membership.skills.all())),
        }

    @property
    def changes(self) -> dict[str, Any]:
        lists = {name: _listed(self.cleaned_data[name]) for name in ("languages", "skills")}
        return {"daily_limit": self.cleaned_data["daily_limit"], **lists}


def _listed(written: str) -> list[str]:
    """Names with commas between, Chinese ones too."""
    return [name.strip() for name in re.split("[,，、]", written) if name.strip()]


class AddAccountForm(forms.Form):
    username = forms.CharField(
        max_length=150,
        label=gettext_lazy("User name"),
        help_text=gettext_lazy("Letters, digits and @ . + - _. Somebody who has an account already is added with it."),
        widget=forms.TextInput(attrs={"autocomplete": "off", **NAME_ATTRIBUTES}),
    )
    full_name = forms.CharField(max_length=150, required=False, label=gettext_lazy("Full name"))
    role = forms.ChoiceField(
        label=gettext_lazy("Role"), choices=Membership.Role.choices, initial=Membership.Role.LABELER
    )


class NewAccountForm(forms.Form):
    username = forms.CharField(
        max_length=150,
        label=gettext_lazy("User name"),
        help_text=gettext_lazy("Letters, digits and @ . + - _. You sign in with it."),
        widget=forms.TextInput(attrs={"autocomplete": "username", **NAME_ATTRIBUTES}),
    )
    full_name = forms.CharField(
        max_length=150,
        required=False,
        label=gettext_lazy("Full name"),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=4096,
        strip=False,
        help_text=gettext_lazy("Ten characters or more, not only digits, no sequence, and not your own name."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label=gettext_lazy("Password, again"),
        max_length=4096,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if {"password", "again"} <= set(cleaned) and cleaned["password"] != cleaned["again"]:
            self.add_error("again", _("The two passwords are not the same."))
        return cleaned

    @property
    def account(self) -> dict[str, str]:
        """Arguments of invitations.open_account."""
        return {name: self.cleaned_data[name] for name in ("username", "full_name", "password")}
