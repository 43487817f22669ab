"""Which tabs a project's pages show to whom, and which notices every page asks for.

Other apps register their own in `ready()`.
"""

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from .models import Project
from .permissions import Capability, can


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab of a project: a URL name that takes the project's slug, shown to those who hold the capability.

    `also` names further URLs whose pages belong to the tab, such as the page of one run.
    """

    label: str
    url_name: str
    capability: Capability
    also: tuple[str, ...] = ()
    position: int = 50


@dataclass(frozen=True, slots=True)
class ShownTab:
    label: str
    url: str
    current: bool


_tabs: dict[str, Tab] = {}
_banners: list[str] = []


def register(tab: Tab) -> None:
    """Add a tab; a second tab of the same URL takes the first one's place."""
    _tabs[tab.url_name] = tab


def register_banner(url_name: str) -> None:
    """Name a page that answers with a notice for the top of every page, or with nothing (see base.html)."""
    if url_name not in _banners:
        _banners.append(url_name)


def tabs_for(*, request: HttpRequest, project: Project) -> list[ShownTab]:
    """The tabs this person sees, the one being looked at marked."""
    view_name = request.resolver_match.view_name if request.resolver_match else ""
    return [
        ShownTab(
            label=tab.label,
            url=reverse(tab.url_name, args=[project.slug]),
            current=view_name == tab.url_name or view_name in tab.also,
        )
        for tab in sorted(_tabs.values(), key=lambda tab: tab.position)
        if can(request.user, tab.capability, project)
    ]


def banner_urls() -> list[str]:
    return [reverse(name) for name in _banners]


for _tab in (
    Tab("Overview", "annotate:overview", Capability.SEE_DATA, position=10),
    Tab("Work", "annotate:work", Capability.LABEL, position=20),
    Tab("Guidelines", "annotate:guidelines", Capability.VIEW, position=30),
    Tab("Prompts", "annotate:prompts", Capability.SEE_DATA, also=("annotate:import",), position=40),
    Tab("Exports", "annotate:exports", Capability.EXPORT, position=45),
    Tab("People", "annotate:people", Capability.MANAGE, also=("annotate:reset_password",), position=80),
    Tab("Settings", "annotate:settings", Capability.MANAGE, position=90),
):
    register(_tab)
