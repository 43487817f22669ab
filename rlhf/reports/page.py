"""The page of a report: sentences, metrics with intervals, groups, charts and examples."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils.translation import get_language_info, gettext, gettext_lazy
from django.utils.translation import gettext as _

from annotate.data.text import row_number
from annotate.models import Demonstration, Judgment, Membership, Project, User
from annotate.rendering import chart_figures
from models_core.contract.reports import verdict_messages
from rlhf.reports import charts

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

KINDS: dict[str, "StrOrPromise"] = {
    "section": gettext_lazy("Section of RewardBench"),
    "subset": gettext_lazy("Subset"),
    "language": gettext_lazy("Language"),
    "source": gettext_lazy("Source"),
    "judge": gettext_lazy("Judge"),
    "labeler": gettext_lazy("Labeler"),
    "policy": gettext_lazy("Model"),
    "margin": gettext_lazy("Margin"),
    "distance": gettext_lazy("Rank difference"),
    "confidence": gettext_lazy("Difference of the two scores (logits)"),
    "disagreement": gettext_lazy("Disagreement of the heads"),
}
SHORT_PROMPT = 600
"""Letters up to which a prompt is shown at once."""
LANGUAGE_FINDINGS = frozenset({"good_except", "weak_in", "thin"})


@dataclass(frozen=True)
class Sentence:
    text: str
    code: str


@dataclass(frozen=True)
class Figure:
    """A share with its interval. `low` and `high` may be None."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    strip: chart_figures.Strip | None
    count: int = 0
    prompts: int = 0
    is_small: bool = False


@dataclass(frozen=True)
class Group:
    """Accuracy by one property, as a table."""

    kind: str
    title: "StrOrPromise"
    rows: Sequence[Figure]


@dataclass(frozen=True)
class LabelerRow:
    """How far the model, and how far other labelers, agree with somebody."""

    name: str
    judgments: int
    parts: tuple[Figure, Figure]


@dataclass(frozen=True)
class Example:
    """A pair to read. `is_covered`: its prompt may upset."""

    prompt: Sequence[Mapping[str, Any]]
    responses: Sequence[Mapping[str, Any]]
    confidence: float
    said_by: Sequence[str]
    opposed_by: Sequence[str]
    is_covered: bool

    @property
    def is_short(self) -> bool:
        """Whether its prompt needs no folding."""
        return sum(len(message["text"]) for message in self.prompt) <= SHORT_PROMPT


@dataclass(frozen=True)
class ReportPage:
    """A report in the reader's language. Without a pair only `verdict` is filled."""

    report: Mapping[str, Any]
    verdict: Sentence
    level: str
    findings: Sequence[Sentence]
    compared: Sequence[Figure] = ()
    groups: Sequence[Group] = ()
    labelers: Sequence[LabelerRow] = ()
    reliability: charts.Reliability | None = None
    histogram: charts.Histogram | None = None
    mistakes: Sequence[Example] = ()
    right: Sequence[Example] = ()
    size: Mapping[str, int] = field(
        default_factory=lambda: {
            "width": charts.WIDTH,
            "height": charts.HEIGHT,
            "left": charts.LEFT,
            "right": charts.WIDTH - charts.RIGHT,
            "bottom": charts.HEIGHT - charts.BOTTOM,
            "labels": charts.HEIGHT - charts.BOTTOM + 16,
            "middle": (charts.LEFT + charts.WIDTH - charts.RIGHT) // 2,
            "title": charts.HEIGHT - 6,
            "strip": chart_figures.STRIP,
            "strip_half": chart_figures.STRIP // 2,
        }
    )

    def table(self, name: str) -> Iterable[Sequence[Any]] | None:
        """The rows of a CSV file, its head first; None for a table that there isn't."""
        if name != "groups":
            return None
        found = [(group.kind, row) for group in self.groups for row in group.rows]
        return [
            ("by", "group", "accuracy", "low", "high", "pairs", "prompts"),
            *((kind, row.name, row.value, row.low, row.high, row.count, row.prompts) for kind, row in found),
        ]


def verdict_of(report: Mapping[str, Any]) -> Sentence:
    """Its first sentence. The groups that a verdict names are languages."""
    return _sentence(report["verdict"], {})


def page_of(report: Mapping[str, Any], *, project: Project) -> ReportPage:
    names = _labeler_names(project)
    verdict = report["verdict"]
    level = {True: "ok", False: "error", None: "warn"}[verdict["ready"]]
    sentence = verdict_of(report)
    findings = [_sentence(item, names) for item in verdict["findings"]]
    if not report["pairs"]:
        return ReportPage(report=report, verdict=sentence, level=level, findings=findings)
    covered = _covered(project, report["examples"])
    return ReportPage(
        report=report,
        verdict=sentence,
        level=level,
        findings=[item for item in findings if item.text],
        compared=_compared(report),
        groups=[
            Group(kind=kind, title=title, rows=[_group_row(kind, row, names) for row in report["by"][kind]])
            for kind, title in KINDS.items()
            if kind in report["by"]
        ],
        labelers=[
            LabelerRow(
                name=names.get(row["name"], row["name"]),
                judgments=row["judgments"],
                parts=(_figure("", row["model"], "accuracy"), _figure("", row["others"], "share")),
            )
            for row in report["labelers"]["each"]
        ],
        reliability=charts.reliability(report["calibration"]["bins"]),
        histogram=charts.histogram(report["scores"]["histogram"]),
        mistakes=[_example(item, names, covered) for item in report["examples"]["mistakes"]],
        right=[_example(item, names, covered) for item in report["examples"]["right"]],
    )


def _sentence(item: Mapping[str, Any], names: Mapping[str, str]) -> Sentence:
    values = dict(item["values"])
    if "group" in values:
        group = values["group"]
        values["group"] = language_name(group) if item["code"] in LANGUAGE_FINDINGS else names.get(group, group)
    # A sentence of a later version has no translation here, and is shown as it was written.
    worded = verdict_messages.sentence(item["code"], values, translate=gettext) or item["sentence"]
    return Sentence(text=worded, code=item["code"])


def language_name(code: str) -> str:
    """ "zh" -> "Chinese", in the reader's language; a code that Django doesn't know stays as it is."""
    if code == "zh":
        return _("Chinese")
    try:
        return str(get_language_info(code)["name_translated"])
    except KeyError:
        return code


def _compared(report: Mapping[str, Any]) -> list[Figure]:
    """The accuracy, and what it is read against."""
    overall = {"accuracy": report["accuracy"], "low": report["accuracy_low"], "high": report["accuracy_high"]}
    counts = {"pairs": report["pairs"], "prompts": report["prompts"], "small": False}
    is_longer = report["length"]["rule"] == "longer"
    rule = _("Baseline: longer response wins") if is_longer else _("Baseline: shorter response wins")
    baseline = dict(report["length"]["longer_wins"])
    if report["length"]["rule"] == "shorter":
        baseline |= {
            "accuracy": 1 - baseline["accuracy"],
            "low": 1 - baseline["high"],
            "high": 1 - baseline["low"],
        }
    found = [
        _figure(_("This reward model"), overall | counts, "accuracy"),
        _figure(rule, baseline, "accuracy"),
        _figure(_("Inter-labeler agreement"), report["labelers"]["agreement"], "share"),
    ]
    if report["newest"]:
        found.append(_figure(_("Previous model, on new judgments"), report["newest"], "accuracy"))
        found.append(_figure(_("This model, on the held-out ones of them"), report["newest"]["now"], "accuracy"))
    return found


def _group_row(kind: str, row: Mapping[str, Any], names: Mapping[str, str]) -> Figure:
    name = row["name"]
    if row.get("others"):
        name = _("%(n)s others") % {"n": row["others"]}
    elif name is None:
        name = _("unspecified")
    elif kind == "language":
        name = language_name(name)
    elif kind == "judge":
        name = {"human": _("People"), "ai": _("AI")}.get(name, name)
    elif kind == "labeler":
        name = names.get(name, name)
    return _figure(name, row, "accuracy")


def _figure(name: str, part: Mapping[str, Any], value: str) -> Figure:
    return Figure(
        name=name,
        value=part[value],
        low=part["low"],
        high=part["high"],
        strip=chart_figures.strip(part[value], part["low"], part["high"]),
        count=part["pairs"],
        prompts=part["prompts"],
        is_small=part["small"],
    )


def _example(item: Mapping[str, Any], names: Mapping[str, str], covered: frozenset[str]) -> Example:
    return Example(
        prompt=item["prompt"],
        responses=[item["preferred"] | {"is_preferred": True}, item["other"]],
        confidence=item["confidence"],
        said_by=_voters(item["said_by"], names),
        opposed_by=_voters(item["opposed_by"], names),
        is_covered=item["id"] in covered,
    )


def _voters(voters: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> list[str]:
    given = [voter["labeler"] or voter["judge"] for voter in voters]
    return [names.get(name, name) for name in given if name]


def _labeler_names(project: Project) -> dict[str, str]:
    """Snapshots hold pseudonyms; readers of this page may see the labelers' names elsewhere too."""
    judged = Judgment.objects.filter(project=project).values("labeler")
    people = User.objects.filter(pk__in=judged) | User.objects.filter(
        pk__in=Membership.objects.filter(project=project).values("user")
    )
    return {project.pseudonym(user.pk): user.display_name for user in people.distinct()}


def _covered(project: Project, examples: Mapping[str, Sequence[Mapping[str, Any]]]) -> frozenset[str]:
    """Ids of the examples whose prompts are marked as upsetting now, whenever that was."""
    ids = {item["id"] for items in examples.values() for item in items}
    keys = {name: _keys(ids, name) for name in ("judgment", "edit")}
    marked = Judgment.objects.filter(project=project, pk__in=keys["judgment"], task__prompt__sensitive=True)
    edits = Demonstration.objects.filter(prompt__project=project, pk__in=keys["edit"], prompt__sensitive=True)
    found = {"judgment": marked, "edit": edits}
    return frozenset(f"{name}-{key}" for name, rows in found.items() for key in rows.values_list("pk", flat=True))


def _keys(ids: Iterable[str], name: str) -> list[int]:
    numbers = [row_number(item.partition("-")[2]) for item in ids if item.startswith(f"{name}-")]
    return [number for number in numbers if number is not None]
