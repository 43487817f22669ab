"""The figures of an evaluation and of a leaderboard as pages show them: names, sentences, drawings, tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import Prompt
from annotate.rendering import chart_figures
from annotate.rendering.chart_figures import Strip
from rlhf.human_evaluation import leaderboard
from rlhf.loop.rounds import forecast
from rlhf.models import HumanEvaluation, Leaderboard, ModelVersion

LEVELS = 10
"""Steps of colour of the matrix of win rates, from always lost to always won."""
BY = {"use_case": gettext_lazy("Use case"), "language": gettext_lazy("Language")}


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A win rate of `first` against `second` in a table. strip: its interval, drawn; level: its colour."""

    first: ModelVersion
    second: ModelVersion
    rate: float | None
    low: float | None
    high: float | None
    wins: int
    ties: int
    losses: int
    prompts: int
    strip: Strip | None
    level: int = 0
    name: str = ""
    by: str = ""
    sentence: str = ""
    anytime_low: float | None = None
    anytime_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class RatedVersion:
    """A version's rating. rank: one more than the versions that are better beyond both intervals."""

    version: ModelVersion
    rank: int
    rating: float
    low: float
    high: float
    is_anchor: bool
    strip: Strip | None
    controlled: float | None
    controlled_low: float | None
    controlled_high: float | None
    prompts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of the matrix: the row's version against the column's; empty on the diagonal."""

    rate: Rate | None


class EvaluationPage:
    """What the page of an evaluation and its CSV files show, out of the stored figures."""

    def __init__(self, evaluation: HumanEvaluation) -> None:
        self.evaluation = evaluation
        self.figures: Mapping[str, Any] = evaluation.figures
        self.evaluated = list(evaluation.evaluated.all())
        self.versions = {one.version_id: one.version for one in self.evaluated}

    @property
    def has_figures(self) -> bool:
        return bool(self.figures)

    @property
    def done_share(self) -> float:
        return self.figures["complete"] / self.figures["prompts"] if self.figures.get("prompts") else 0.0

    def pairs(self) -> list[Rate]:
        return [
            self._rate(pair, sentence=self._sentence(pair), low_high=(pair["anytime_low"], pair["anytime_high"]))
            for pair in self.figures.get("pairs", [])
        ]

    def groups(self) -> list[tuple[str, list[Rate]]]:
        """[(heading, rates)] by use case and by language."""
        return [
            (
                str(label),
                [self._rate(row, name=_group_name(name, row["value"]), by=name) for row in self._group_rows(name)],
            )
            for name, label in BY.items()
        ]

    def _group_rows(self, name: str) -> list[Mapping[str, Any]]:
        return [row for row in self.figures.get("groups", []) if row["by"] == name]

    def matrix(self) -> list[tuple[ModelVersion, list[Cell]]]:
        """Rows of versions: their win rate against each other one."""
        rates: dict[tuple[int, int], Rate] = {}
        for pair in self.figures.get("pairs", []):
            rates[pair["first"], pair["second"]] = self._rate(pair)
            rates[pair["second"], pair["first"]] = self._rate(_reversed(pair))
        return [
            (version, [Cell(rate=rates.get((row, column))) for column in self.versions])
            for row, version in self.versions.items()
        ]

    def ratings(self) -> list[RatedVersion]:
        return rated_versions(self.figures, self.versions)

    @property
    def length_effect(self) -> tuple[float, float, float] | None:
        effect = self.figures.get("controlled", {}).get("length_effect")
        return (effect[0], effect[1], effect[2]) if effect else None

    def decision(self) -> str:
        """One sentence of what the evaluation has come to."""
        found = self.figures
        if self.evaluation.state == HumanEvaluation.State.SAMPLING:
            return _("The versions are responding to the prompts. Judging begins when all have.")
        if not found or not found["judgments"]:
            return _("Nothing is judged yet.")
        undecided = sum(pair["verdict"] == "open" for pair in found["pairs"])
        if self.evaluation.state == HumanEvaluation.State.ACTIVE:
            return _("No decision yet: it goes on until every pair is decided or every prompt is judged.")
        if not undecided:
            if len(found["pairs"]) == 1:
                return self._sentence(found["pairs"][0])
            return _("Every pair is decided.")
        return _("Undecided: %(n)s of %(pairs)s pairs showed no difference that can be stated.") % {
            "n": undecided,
            "pairs": len(found["pairs"]),
        }

    def expected(self) -> str:
        """When judging begins, by the runs that sample; then when the last prompt is judged, by the pace so far."""
        if self.evaluation.state == HumanEvaluation.State.SAMPLING:
            left = [forecast.seconds_left(one.run) for one in self.evaluated if one.run and not one.run.ended]
            known = [seconds for seconds in left if seconds is not None]
            # Runs of a queue that one worker consumes come one after the other.
            when = forecast.in_words(sum(known)) if known and len(known) == len(left) else ""
            return _("Judging begins %(when)s.") % {"when": when} if when else ""
        since, found = self.evaluation.active_since, self.figures
        if self.evaluation.state != HumanEvaluation.State.ACTIVE or since is None or not found:
            return ""
        judged = found["complete"] - found.get("same_text", 0)
        per_hour = judged / max((timezone.now() - since).total_seconds() / forecast.HOUR, 1.0)
        when = forecast.in_words(forecast.until_judged(found["prompts"] - found["complete"], per_hour=per_hour))
        return _("At the current pace every prompt is judged %(when)s.") % {"when": when} if when else ""

    def _sentence(self, pair: Mapping[str, Any]) -> str:
        first, second = self.versions[pair["first"]].label, self.versions[pair["second"]].label
        names = {"first": first, "second": second, "margin": f"{100 * self.evaluation.margin:.0f}"}
        sentences = {
            "first": _("%(first)s is better than %(second)s.") % names,
            "second": _("%(second)s is better than %(first)s.") % names,
            "equal": _("%(first)s and %(second)s are equal within %(margin)s points.") % names,
            "open": _("No decision yet.") if self.evaluation.is_open else _("No difference that can be stated."),
        }
        return sentences[pair["verdict"]]

    def _rate(
        self,
        row: Mapping[str, Any],
        *,
        name: str = "",
        by: str = "",
        sentence: str = "",
        low_high: tuple[float | None, float | None] = (None, None),
    ) -> Rate:
        counted = {key: row[key] for key in ("rate", "low", "high", "wins", "ties", "losses", "prompts")}
        return Rate(
            first=self.versions[row["first"]],
            second=self.versions[row["second"]],
            strip=chart_figures.strip(row["rate"], row["low"], row["high"]),
            level=0 if row["rate"] is None else round(LEVELS * row["rate"]),
            name=name,
            by=by,
            sentence=sentence,
            anytime_low=low_high[0],
            anytime_high=low_high[1],
            **counted,
        )

    def table(self, name: str) -> Iterable[Sequence[Any]] | None:
        """The rows of a CSV file, its head first; None for a table that there isn't."""
        if name == "win-rates":
            anytime = ("anytime_low", "anytime_high")
            return [
                ("first", "second", "win_rate", "low", "high", *anytime, "wins", "ties", "losses", "prompts"),
                *([*_named(rate), *(getattr(rate, key) for key in anytime), *_counts(rate)] for rate in self.pairs()),
            ]
        if name == "groups":
            found = [rate for _label, rates in self.groups() for rate in rates]
            return [
                ("by", "group", "first", "second", "win_rate", "low", "high", "wins", "ties", "losses", "prompts"),
                *([rate.by, rate.name, *_named(rate), *_counts(rate)] for rate in found),
            ]
        return ratings_table(self.ratings()) if name == "ratings" else None


def _named(rate: Rate) -> list[Any]:
    return [str(rate.first), str(rate.second), rate.rate, rate.low, rate.high]


def _counts(rate: Rate) -> list[int]:
    return [rate.wins, rate.ties, rate.losses, rate.prompts]


def _reversed(pair: Mapping[str, Any]) -> dict[str, Any]:
    """The pair as the second version sees it."""
    swapped = {name: None if pair[name] is None else 1 - pair[name] for name in ("rate", "low", "high")}
    return {
        "first": pair["second"],
        "second": pair["first"],
        "rate": swapped["rate"],
        "low": swapped["high"],
        "high": swapped["low"],
        "wins": pair["losses"],
        "ties": pair["ties"],
        "losses": pair["wins"],
        "prompts": pair["prompts"],
    }


def _group_name(by: str, value: str) -> str:
    if by == "use_case":
        return str(dict(Prompt.UseCase.choices).get(value, value))
    return value or _("not known")


def rated_versions(
    figures: Mapping[str, Any], versions: Mapping[int, ModelVersion], prompts: Mapping[str, int] | None = None
) -> list[RatedVersion]:
    """The ratings, the best first, drawn on one scale."""
    rows = figures.get("ratings", {}).get("versions", [])
    controlled = {row["version"]: row for row in figures.get("controlled", {}).get("versions", [])}
    low = min((row["low"] for row in rows), default=0.0)
    span = max(max((row["high"] for row in rows), default=0.0) - low, 1.0)
    found = []
    for row in rows:
        of_length = controlled.get(row["version"], {})
        found.append(
            RatedVersion(
                version=versions[row["version"]],
                rank=1 + sum(other["low"] > row["high"] for other in rows),
                rating=row["rating"],
                low=row["low"],
                high=row["high"],
                is_anchor=row["version"] == figures["ratings"]["anchor"],
                strip=chart_figures.strip(*((row[name] - low) / span for name in ("rating", "low", "high"))),
                controlled=of_length.get("rating"),
                controlled_low=of_length.get("low"),
                controlled_high=of_length.get("high"),
                prompts=None if prompts is None else prompts.get(str(row["version"])),
            )
        )
    return found


def ratings_table(rated: Sequence[RatedVersion]) -> list[Sequence[Any]]:
    names = ("rank", "rating", "low", "high", "controlled", "controlled_low", "controlled_high")
    return [("version", *names), *([str(one.version), *(getattr(one, name) for name in names)] for one in rated)]


class LeaderboardPage:
    """What the page of a leaderboard and its CSV files show."""

    def __init__(self, board: Leaderboard) -> None:
        self.board = board
        self.figures: Mapping[str, Any] = board.figures
        self.versions = {version.pk: version for version in board.project.model_versions.all()}

    def ratings(self) -> list[RatedVersion]:
        return rated_versions(self.figures, self.versions, self.figures.get("prompts", {}))

    @property
    def anchor(self) -> ModelVersion | None:
        return self.versions.get(self.figures["ratings"]["anchor"]) if self.figures else None

    @property
    def unconnected(self) -> list[ModelVersion]:
        return [self.versions[key] for key in self.figures.get("ratings", {}).get("unconnected", [])]

    @cached_property
    def rounds(self) -> list[dict[str, Any]]:
        return leaderboard.rounds(self.board.project, self.board)

    def sentence(self) -> str:
        """Whether the model is getting better, by the last and the first of the rounds that were compared."""
        rounds = self.rounds
        if len(rounds) < 2:
            return ""
        first, last = rounds[0], rounds[-1]
        gain = {"gain": f"{last['rating'] - first['rating']:+.0f}", "version": last["version"].label}
        if last["low"] > first["high"]:
            return (
                _("People prefer the newest policy: %(version)s is %(gain)s points from where the rounds began.") % gain
            )
        if last["high"] < first["low"]:
            return _("People like the newest policy less: %(version)s is %(gain)s points from where they began.") % gain
        return (
            _("No change can be stated: %(version)s is %(gain)s points from where they began, within the interval.")
            % gain
        )

    def table(self, name: str) -> Iterable[Sequence[Any]] | None:
        if name == "rounds":
            rows = ([one["round"], str(one["version"]), one["rating"], one["low"], one["high"]] for one in self.rounds)
            return [("round", "version", "rating", "low", "high"), *rows]
        return ratings_table(self.ratings()) if name == "ratings" else None
