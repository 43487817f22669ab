"""What templates ask for: a project's pages, notices for every page, and untrusted Markdown made safe."""

from typing import Any

from django import template
from django.conf import settings
from django.template.context import Context
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from annotate import navigation, rendering
from annotate.data import stored_messages
from annotate.labeling import model_self_identification
from annotate.labeling.sensitive_content import visibility
from annotate.models import Project, Prompt, User
from annotate.people import notices
from annotate.rendering import local_times, shown_numbers
from annotate.views import preferences

register = template.Library()


@register.simple_tag(takes_context=True)
def project_pages(context: Context, project: Project) -> list[navigation.ShownGroup]:
    """The pages of a project that the reader may open, in groups."""
    return navigation.groups_for(request=context["request"], project=project)


@register.simple_tag
def banner_urls() -> list[str]:
    return navigation.banner_urls()


@register.simple_tag
def bell(user: User) -> notices.Bell:
    """What waits or is new: the number at the bell, and words for it."""
    return notices.bell(user)


@register.filter
def letter(number: int) -> str:
    """The first is A."""
    return chr(ord("A") + number - 1)


@register.filter
def signed(value: float | None) -> str:
    """+0.4, −1.2, 0.0; nothing for none."""
    if value is None:
        return ""
    return ("+" if round(value, 1) > 0 else "−" if round(value, 1) < 0 else "") + number_format(abs(value), 1)


@register.simple_tag
def catalogue_url(language: str) -> str:
    """Where the messages of scripts are, in this language."""
    return preferences.catalogue_url(language)


@register.simple_tag
def languages() -> list[tuple[str, str]]:
    """Each by its own name: who can't read this page looks for that."""
    return settings.LANGUAGES


@register.simple_tag
def themes() -> list[tuple[str, str]]:
    return [(code, str(name)) for code, name in User.Theme.choices]


@register.simple_tag
def single_sign_on() -> str:
    """What pages call the provider of single sign-on; empty where there is none."""
    return settings.HONE_OIDC_NAME if settings.HONE_OIDC_ISSUER else ""


@register.filter
def names_itself(text: str) -> list[str]:
    """The names by which a response gives its model away (see annotate.labeling.model_self_identification)."""
    return model_self_identification.names_itself(text)


@register.filter
def masked(text: str, wanted: bool) -> str:
    """A response with those names masked where its project says so: {{ text|masked:project.mask_model_names }}."""
    return model_self_identification.mask_names(text) if wanted else text


@register.filter
def markdown(text: str) -> SafeString:
    """A prompt's or a response's Markdown, each line end kept."""
    return rendering.markdown(text)


register.filter("moment", local_times.moment)
register.filter("day", local_times.day)
register.filter("day_text", local_times.day_text)


@register.filter
def question_line(prompt: Prompt | None, length: int) -> str:
    """A prompt's question in a list, shortened; covered where it may upset: {{ task.prompt|question_line:120 }}."""
    return "" if prompt is None else Truncator(visibility.covered_question(prompt)).chars(length)


@register.filter
def document(text: str) -> SafeString:
    """The Markdown of a document, such as guidelines, whose author wraps lines."""
    return rendering.markdown(text, breaks=False)


@register.filter
def role_name(role: str) -> str:
    """The speaker of a turn of a chat."""
    return {"user": _("User"), "assistant": _("Assistant"), "system": _("System")}.get(role, role)


@register.filter
def stored_message(stored: dict[str, Any] | str) -> str:
    """A message that a job stored, in the reader's language."""
    return stored_messages.text(stored)


register.filter("percent", shown_numbers.percent)
register.filter("share", shown_numbers.share)
register.filter("unlocalized", shown_numbers.unlocalized)


@register.filter
def count(number: int | None) -> str:
    """12345 -> "12 345", with a space that keeps the digits together; nothing known -> a dash."""
    return "–" if number is None else f"{number:,}".replace(",", "\u202f")


@register.filter
def points(difference: float) -> str:
    """A difference of two shares: 0.012 -> "+1.2 points"."""
    sign = "+" if difference >= 0 else "−"
    return _("%(n)s points") % {"n": f"{sign}{abs(100 * difference):.1f}"}
