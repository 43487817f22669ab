"""Where model versions come from, as a picture: data sets and models, an arrow from each to what was made of it.

The picture is SVG that the server draws: nodes are links, reached by the keyboard in the order of the columns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.models import Project, Snapshot
from rlhf.models import ModelVersion, TrainingRun
from rlhf.reports import curves

MOST_VERSIONS = 40
"""Versions in a picture, the newest: more can't be read."""
WIDTH, HEIGHT = 208, 46
COLUMN, ROW, MARGIN = 268, 66, 8


@dataclass(frozen=True, slots=True)
class Node:
    """A model version or a data set. Coordinates of its upper left corner."""

    key: str
    kind: str
    title: str
    detail: str
    url: str
    is_main: bool
    is_active: bool
    sources: tuple[str, ...]
    """Titles of what it was made of."""
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Arrow:
    path: str


@dataclass(frozen=True, slots=True)
class Lineage:
    node_width: ClassVar[int] = WIDTH
    node_height: ClassVar[int] = HEIGHT
    nodes: Sequence[Node]
    arrows: Sequence[Arrow]
    width: int
    height: int
    left_out: int
    """Versions that are older than those shown."""


def of_project(project: Project) -> Lineage:
    """The newest versions of a project, with all that they were made of."""
    newest = list(project.model_versions.order_by("-pk").values_list("pk", flat=True)[: MOST_VERSIONS + 1])
    count = project.model_versions.count()
    return _lineage(project, set(newest[:MOST_VERSIONS]), main=None, left_out=max(0, count - MOST_VERSIONS))


def of_version(version: ModelVersion) -> Lineage:
    """A version, what it was made of, and what was made of it."""
    links = ModelVersion.parents.through.objects.filter(from_modelversion__project=version.project)
    pairs = list(links.values_list("from_modelversion", "to_modelversion"))
    found = {version.pk} | {child for child, parent in pairs if parent == version.pk}
    ancestors: set[int] = set()
    left = [version.pk]
    while left:
        known = left.pop()
        more = {parent for child, parent in pairs if child == known} - ancestors
        ancestors |= more
        left += more
    kept = sorted(found | ancestors, key=lambda key: (key != version.pk, -key))
    return _lineage(version.project, set(kept[:MOST_VERSIONS]), main=version.pk, left_out=len(kept[MOST_VERSIONS:]))


def _lineage(project: Project, keys: set[int], *, main: int | None, left_out: int) -> Lineage:
    versions = project.model_versions.filter(pk__in=keys).prefetch_related("parents").order_by("pk")
    runs = {
        run.produced_id: run
        for run in TrainingRun.objects.filter(produced__in=keys).select_related("snapshot").only("produced", "snapshot")
    }
    by_key = {version.pk: version for version in versions}
    sources: dict[str, list[str]] = {}
    snapshots: dict[str, Snapshot] = {}
    for version in by_key.values():
        made_of = [_version_key(parent.pk) for parent in version.parents.all() if parent.pk in by_key]
        run = runs.get(version.pk)
        if run is not None and run.snapshot is not None:
            snapshots[f"data-{run.snapshot.pk}"] = run.snapshot
            made_of.append(f"data-{run.snapshot.pk}")
        sources[_version_key(version.pk)] = made_of
    columns = _columns([*snapshots, *sources], sources)
    titles = {key: _title(snapshot) for key, snapshot in snapshots.items()}
    titles |= {_version_key(version.pk): version.label for version in by_key.values()}
    nodes: list[Node] = []
    for number, column in enumerate(columns):
        for row, key in enumerate(column):
            snapshot = snapshots.get(key)
            shown = None if snapshot is not None else by_key[int(key.partition("-")[2])]
            nodes.append(
                Node(
                    key=key,
                    kind=shown.kind if shown is not None else "data",
                    title=titles[key],
                    detail=_numbers(shown) if shown is not None else _rows(snapshot),
                    url=_url(project, shown),
                    is_main=shown is not None and shown.pk == main,
                    is_active=shown is not None and shown.active,
                    sources=tuple(titles[source] for source in sources.get(key, ())),
                    x=MARGIN + number * COLUMN,
                    y=MARGIN + row * ROW,
                )
            )
    places = {node.key: node for node in nodes}
    arrows = [_arrow(places[source], places[key]) for key in sources for source in sources[key]]
    return Lineage(
        nodes=nodes,
        arrows=arrows,
        width=2 * MARGIN + max(0, len(columns) - 1) * COLUMN + WIDTH,
        height=2 * MARGIN + (max((len(column) for column in columns), default=1) - 1) * ROW + HEIGHT,
        left_out=left_out,
    )


def _columns(keys: Iterable[str], sources: dict[str, list[str]]) -> list[list[str]]:
    """Each node one column after the last of its sources; the keys come with sources before what is made of them."""
    depth: dict[str, int] = {}
    for key in keys:
        depth[key] = max((depth.get(source, 0) + 1 for source in sources.get(key, ())), default=0)
    # A data set stands right before the first version that was made of it.
    for key in depth:
        readers = [depth[other] for other, found in sources.items() if key in found]
        if key.startswith("data-") and readers:
            depth[key] = max(0, min(readers) - 1)
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for key, column in depth.items():
        found[column].append(key)
    return found


def _version_key(number: int) -> str:
    return f"version-{number}"


def _title(snapshot: Snapshot) -> str:
    return str(snapshot)


def _numbers(version: ModelVersion) -> str:
    found = curves.headline(version.metrics)[:1]
    return " ".join(found[0]) if found else version.base_model.rpartition("/")[2]


def _rows(snapshot: Snapshot | None) -> str:
    rows = snapshot.rows if snapshot is not None else None
    return ngettext("%(n)d row", "%(n)d rows", rows) % {"n": rows} if rows else _("data set")


def _url(project: Project, version: ModelVersion | None) -> str:
    if version is None:
        return reverse("annotate:exports", args=[project.slug])
    return reverse("rlhf:model", args=[project.slug, version.pk])


def _arrow(source: Node, target: Node) -> Arrow:
    begin, end = (source.x + WIDTH, source.y + HEIGHT // 2), (target.x, target.y + HEIGHT // 2)
    half = (begin[0] + end[0]) // 2
    return Arrow(f"M{begin[0]} {begin[1]}C{half} {begin[1]} {half} {end[1]} {end[0] - 6} {end[1]}")
