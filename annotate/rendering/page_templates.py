"""Pages that can be sent whatever text stands in them, and messages that never keep a later page from being shown."""

from typing import Any

from django.contrib.messages.storage.session import SessionStorage
from django.template.backends.django import DjangoTemplates, Template
from django.utils.safestring import SafeString, mark_safe

from annotate.rendering.markup import storable

LONGEST_MESSAGE = 2_000
"""Characters of a message; a file's own words may be in it, and a session holds it until it was shown."""


class PageTemplates(DjangoTemplates):
    """Django's templates, whose pages hold nothing that UTF-8 cannot carry, such as half of a surrogate pair.

    Such a page would be an error for whoever opens it, time after time.
    """

    def get_template(self, template_name: str) -> "PageTemplate":
        return PageTemplate(super().get_template(template_name).template, self)

    def from_string(self, template_code: str) -> "PageTemplate":
        return PageTemplate(super().from_string(template_code).template, self)


class PageTemplate(Template):
    def render(self, context: Any = None, request: Any = None) -> SafeString:
        return mark_safe(storable(super().render(context, request)))  # a template made it


class StorableMessages(SessionStorage):
    """Messages in the session, each as a text that every page can carry."""

    def add(self, level: int, message: str, extra_tags: str | None = "") -> None:
        text = storable(str(message))
        if len(text) > LONGEST_MESSAGE:
            text = text[: LONGEST_MESSAGE - 1] + "…"
        super().add(level, text, extra_tags)
