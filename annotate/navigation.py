"""Which tabs a project's pages show to whom, and which notices every page asks for.

Other apps register their own in `ready()`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy

from annotate.models import Project
from annotate.people.permissions import Capability, capabilities

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab of a project: a URL name that takes the project's slug, shown to those who hold the capability.

    `also` names further URLs whose pages belong to the tab, such as the page of one run.
    """

    label: "StrOrPromise"
    url_name: str
    capability: Capability
    also: tuple[str, ...] = ()
    position: int = 50


@dataclass(frozen=True, slots=True)
class ShownTab:
    label: "StrOrPromise"
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
    granted = capabilities(request.user, project)
    return [
        ShownTab(
            label=tab.label,
            url=reverse(tab.url_name, args=[project.slug]),
            current=view_name == tab.url_name or view_name in tab.also,
        )
        for tab in sorted(_tabs.values(), key=lambda tab: tab.position)
        if tab.capability in granted
    ]


def banner_urls() -> list[str]:
    return [reverse(name) for name in _banners]


for _tab in (
    Tab(gettext_lazy("Overview"), "annotate:overview", Capability.SEE_DATA, position=10),
    Tab(gettext_lazy("Work"), "annotate:work", Capability.LABEL, also=("annotate:exam",), position=20),
    Tab(gettext_lazy("My work"), "annotate:mine", Capability.LABEL, also=("annotate:task",), position=25),
    Tab(gettext_lazy("Guidelines"), "annotate:guidelines", Capability.VIEW, position=30),
    Tab(
        gettext_lazy("Tasks"),
        "annotate:tasks",
        Capability.MANAGE,
        also=("annotate:task_kinds", "annotate:withdraw_tasks", "annotate:exam_settings"),
        position=42,
    ),
    Tab(gettext_lazy("Prompts"), "annotate:prompts", Capability.SEE_DATA, also=("annotate:import",), position=40),
    Tab(gettext_lazy("Review"), "annotate:review", Capability.REVIEW, also=("annotate:review_judgment",), position=35),
    Tab(gettext_lazy("Exports"), "annotate:exports", Capability.EXPORT, position=45),
    Tab(
        gettext_lazy("People"),
        "annotate:people",
        Capability.MANAGE,
        also=("annotate:reset_password", "annotate:make_account"),
        position=80,
    ),
    Tab(gettext_lazy("Settings"), "annotate:settings", Capability.MANAGE, position=90),
):
    register(_tab)
