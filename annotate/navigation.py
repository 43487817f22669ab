"""A project's pages in four groups, which of them somebody sees, and which notices every page asks for.

Other apps register their own pages in `ready()`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy

from annotate.models import Project
from annotate.people.permissions import Capability, capabilities

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class Group(Enum):
    """What a page is for, in the order in which pages show the groups."""

    LABEL = gettext_lazy("Label")
    DATA = gettext_lazy("Data")
    MODELS = gettext_lazy("Models")
    PROJECT = gettext_lazy("Project")


@dataclass(frozen=True, slots=True)
class Tab:
    """A page of a project: a URL name that takes the project's slug, shown to those who hold the capability.

    `also` names further URLs whose pages belong to it, such as the page of one run.
    """

    label: "StrOrPromise"
    url_name: str
    capability: Capability
    group: Group
    also: tuple[str, ...] = ()
    position: int = 50
    """Among the pages of its group."""


@dataclass(frozen=True, slots=True)
class ShownTab:
    label: "StrOrPromise"
    url: str
    current: bool


@dataclass(frozen=True, slots=True)
class ShownGroup:
    name: str
    """Of its element in the page."""
    label: "StrOrPromise"
    tabs: list[ShownTab]


@dataclass(frozen=True, slots=True)
class Link:
    """A link in a page to another one, shown to those who hold the capability."""

    label: "StrOrPromise"
    url_name: str
    capability: Capability


_tabs: dict[str, Tab] = {}
_links: dict[str, list[Link]] = {}
_banners: list[str] = []


def register(tab: Tab) -> None:
    """Add a page; a second one of the same URL takes the first one's place."""
    _tabs[tab.url_name] = tab


def register_banner(url_name: str) -> None:
    """Name a page that answers with a notice for the top of every page, or with nothing (see base.html)."""
    if url_name not in _banners:
        _banners.append(url_name)


def register_link(link: Link, *, within: str) -> None:
    """Add a link to the page of this URL name, once."""
    if link not in (links := _links.setdefault(within, [])):
        links.append(link)


def links_within(url_name: str, *, project: Project, granted: frozenset[Capability]) -> list[ShownTab]:
    """The links that other apps added to a page, for somebody who holds these capabilities."""
    found = [link for link in _links.get(url_name, []) if link.capability in granted]
    return [ShownTab(link.label, reverse(link.url_name, args=[project.slug]), current=False) for link in found]


def groups_for(*, request: HttpRequest, project: Project) -> list[ShownGroup]:
    """The pages that this person sees, in their groups, the one being looked at marked."""
    view_name = request.resolver_match.view_name if request.resolver_match else ""
    granted = capabilities(request.user, project)
    seen = sorted((tab for tab in _tabs.values() if tab.capability in granted), key=lambda tab: tab.position)
    groups = [
        ShownGroup(
            name=group.name.lower(),
            label=group.value,
            tabs=[
                ShownTab(
                    label=tab.label,
                    url=reverse(tab.url_name, args=[project.slug]),
                    current=view_name == tab.url_name or view_name in tab.also,
                )
                for tab in seen
                if tab.group is group
            ],
        )
        for group in Group
    ]
    return [group for group in groups if group.tabs]


def banner_urls() -> list[str]:
    return [reverse(name) for name in _banners]


for _tab in (
    Tab(gettext_lazy("Work"), "annotate:work", Capability.LABEL, Group.LABEL, also=("annotate:exam",), position=10),
    Tab(gettext_lazy("My work"), "annotate:mine", Capability.LABEL, Group.LABEL, also=("annotate:task",), position=20),
    Tab(gettext_lazy("Guidelines"), "annotate:guidelines", Capability.VIEW, Group.LABEL, position=30),
    Tab(
        gettext_lazy("Prompts"),
        "annotate:prompts",
        Capability.SEE_DATA,
        Group.DATA,
        also=("annotate:import", "annotate:judgments"),
        position=10,
    ),
    Tab(
        gettext_lazy("Tasks"),
        "annotate:tasks",
        Capability.MANAGE,
        Group.DATA,
        also=(
            *("annotate:manage_task", "annotate:change_tasks"),
            *("annotate:task_kinds", "annotate:withdraw_tasks", "annotate:exam_settings"),
            "annotate:quality_checks",
        ),
        position=20,
    ),
    Tab(
        gettext_lazy("Review"),
        "annotate:review_queue",
        Capability.REVIEW,
        Group.DATA,
        also=("annotate:review", "annotate:review_judgment", "annotate:review_decided", "annotate:review_bulk"),
        position=30,
    ),
    Tab(gettext_lazy("Snapshots"), "annotate:exports", Capability.EXPORT, Group.DATA, position=40),
    Tab(gettext_lazy("Overview"), "annotate:overview", Capability.SEE_DATA, Group.PROJECT, position=10),
    Tab(
        gettext_lazy("Quality"),
        "annotate:quality",
        Capability.SEE_DATA,
        Group.PROJECT,
        also=("annotate:analysis",),
        position=15,
    ),
    Tab(
        gettext_lazy("People"),
        "annotate:people",
        Capability.MANAGE,
        Group.PROJECT,
        also=("annotate:labeler", "annotate:reset_password", "annotate:make_account"),
        position=20,
    ),
    Tab(
        gettext_lazy("Settings"),
        "annotate:settings",
        Capability.MANAGE,
        Group.PROJECT,
        also=("annotate:copy_project", "annotate:audit_log"),
        position=30,
    ),
):
    register(_tab)
