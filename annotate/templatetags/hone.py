"""What templates ask for: a project's tabs, notices for every page, and untrusted Markdown made safe."""

from typing import Any

from django import template
from django.template.context import Context
from django.utils.safestring import SafeString

from .. import navigation, rendering
from ..models import Project

register = template.Library()


@register.simple_tag(takes_context=True)
def project_tabs(context: Context, project: Project) -> list[navigation.ShownTab]:
    return navigation.tabs_for(request=context["request"], project=project)


@register.simple_tag
def banner_urls() -> list[str]:
    return navigation.banner_urls()


@register.filter
def markdown(text: str) -> SafeString:
    return rendering.markdown(text)


@register.filter
def percent(share: float | None, digits: int = 0) -> str:
    """0.726 -> "73%"; nothing known -> a dash."""
    return "–" if share is None else f"{100 * share:.{digits}f}%"


@register.filter
def lookup(mapping: dict[Any, Any] | None, key: Any) -> Any:
    return mapping.get(key) if mapping else None
