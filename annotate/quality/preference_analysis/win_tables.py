"""The tables of the analysis page: win rates by author, length, place on the board, use case and language.

Everything comes out of the sums that are kept by increments (annotate.quality.measures), so a table costs the same
however much was judged. Intervals are those of a ratio over clusters, which are the tasks (annotate.quality.intervals).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _

from annotate.models import Author, Prompt
from annotate.quality.intervals import Share
from annotate.quality.measures.report import Measures, PeriodReport
from annotate.quality.preference_analysis.counted_authors import OTHER_MODELS, PEOPLE, UNKNOWN
from annotate.quality.preference_analysis.win_counts import GAPS, RATIOS, SIZES
from annotate.rendering.chart_figures import Strip, strip

MOST_ROWS = 60
USE_CASES = dict(Prompt.UseCase.choices)


@dataclass(frozen=True, kw_only=True)
class WinRow:
    """A row of a table. of: pairs that the share is of. tied: where the table has this column."""

    name: str
    label: str
    share: Share
    of: int
    tied: Share | None = None

    @property
    def strip(self) -> Strip | None:
        return strip(self.share.rate, self.share.low, self.share.high)


@dataclass(frozen=True, kw_only=True)
class WinTable:
    """name: of its CSV file and of its place in the page. share_label: what its share is of. left_out: rows beyond."""

    name: str
    title: str
    first_column: str
    share_label: str
    rows: Sequence[WinRow]
    note: str = ""
    left_out: int = 0

    @property
    def is_empty(self) -> bool:
        return not any(row.share.total for row in self.rows)

    @property
    def has_details(self) -> bool:
        return any(row.tied is not None for row in self.rows)

    def csv_rows(self) -> Iterator[Sequence[Any]]:
        head = ("name", "label", "rate", "low", "high", "pairs", "tasks")
        yield (*head, "tied", "tied_low", "tied_high", "all_pairs") if self.has_details else head
        for row in self.rows:
            share, tied = row.share, row.tied
            more = (tied.rate, tied.low, tied.high, tied.total) if tied is not None else ()
            yield (row.name, row.label, share.rate, share.low, share.high, row.of, share.clusters, *more)


@dataclass
class WinTables:
    """The tables of a report. chosen: the author whose win rate is shown by use case and language."""

    report: PeriodReport
    chosen: str = ""

    @cached_property
    def by_author(self) -> WinTable:
        """Those with the most wins first; of many, those with the most pairs."""
        shares = self.report.wins.groups("by")
        most = sorted(shares, key=lambda name: (-shares[name].total, name))[:MOST_ROWS]
        labels = author_labels(most)
        rows = [_doubled(name, labels[name], shares[name]) for name in most]
        return WinTable(
            name="authors",
            title=_("Win rate by author"),
            first_column=_("Author of the response"),
            share_label=_("Win rate"),
            rows=sorted(rows, key=lambda row: (-(row.share.rate or 0), row.label)),
            left_out=len(shares) - len(rows),
            note=_(
                "Share of pairs with responses of other authors that this author’s response wins; a tie is one half. "
                "Which authors it met matters: ratings of versions that were compared head to head are on the "
                "leaderboard."
            ),
        )

    @cached_property
    def shown_author(self) -> str:
        """The chosen one, or that with the most pairs; empty where no pair has two authors."""
        names = {row.name: row for row in self.by_author.rows}
        if self.chosen in names:
            return self.chosen
        return max(names, key=lambda name: (names[name].of, name), default="")

    @property
    def by_use_case(self) -> WinTable:
        rows = self.report.wins_by_use_case
        labels = {name: str(USE_CASES.get(name, name or "–")) for name in rows}
        return self._by_segment("use_cases", _("By use case"), _("Use case"), rows, labels)

    @property
    def by_language(self) -> WinTable:
        rows = self.report.wins_by_language
        return self._by_segment(
            "languages", _("By language"), _("Language"), rows, {name: name or "–" for name in rows}
        )

    @property
    def by_place(self) -> WinTable:
        return WinTable(
            name="places",
            title=_("Win rate by place on the board"),
            first_column=_("Place"),
            share_label=_("Win rate"),
            rows=[
                _doubled(name, _("Shown as number %(number)s") % {"number": name}, share)
                for name, share in _by_number(self.report.wins.groups("at"))
            ],
            note=_("50% everywhere without a bias, since the order is drawn for each labeler."),
        )

    @property
    def by_length(self) -> WinTable:
        rows = [_doubled(name, _size(int(name)), one) for name, one in _by_number(self.report.wins.groups("size"))]
        return WinTable(
            name="lengths",
            title=_("Win rate by length of the response"),
            first_column=_("Characters"),
            share_label=_("Win rate"),
            rows=rows,
            note=_("Against responses of another length group; a tie is one half."),
        )

    @property
    def by_ratio(self) -> WinTable:
        groups = _by_number(self.report.wins.groups("longer"))
        return WinTable(
            name="longer",
            title=_("How often the longer response is preferred"),
            first_column=_("Times as long"),
            share_label=_("Longer one preferred"),
            rows=[_plain(name, _step(int(name), [1.0, *RATIOS]), share) for name, share in groups],
            note=_("Of pairs without ties."),
        )

    def _by_segment(
        self, name: str, title: str, first: str, rows: Mapping[str, Measures], labels: Mapping[str, str]
    ) -> WinTable:
        author = self.shown_author
        label = author_labels([author])[author] if author else ""
        return WinTable(
            name=name,
            title=title,
            first_column=first,
            share_label=_("Win rate of %(author)s") % {"author": label} if label else _("Win rate"),
            rows=[
                _doubled(
                    key,
                    labels[key],
                    one.groups("by").get(author, Share.of_trials(0, 0)),
                    tied=one.share("tied"),
                )
                for key, one in sorted(rows.items(), key=lambda item: (-item[1].share("tied").total, item[0]))[
                    :MOST_ROWS
                ]
            ],
            left_out=max(0, len(rows) - MOST_ROWS),
        )


def by_score_gap(measures: Measures) -> WinTable:
    """How often people prefer the response that the reward model scores higher, by how much higher."""
    groups = _by_number(measures.groups("gap"))
    return WinTable(
        name="gaps",
        title=_("By difference of the scores"),
        first_column=_("Difference of the scores"),
        share_label=_("Higher score preferred"),
        rows=[_plain(name, _step(int(name), [0.0, *GAPS]), share) for name, share in groups],
        note=_(
            "Of pairs without ties. A useful reward model is right more often the further its two scores are apart."
        ),
    )


def by_reward_agreement(name: str, title: str, first: str, parts: Iterable[tuple[str, str, Measures]]) -> WinTable:
    """How often people prefer the response with the higher reward score, by a part of the project."""
    rows = [_plain(key, label, one.reward) for key, label, one in parts if one.reward.total]
    rows.sort(key=lambda row: (-row.of, row.label))
    return WinTable(
        name=name,
        title=title,
        first_column=first,
        share_label=_("Higher score preferred"),
        rows=rows[:MOST_ROWS],
        left_out=max(0, len(rows) - MOST_ROWS),
    )


def author_labels(names: Iterable[str]) -> dict[str, str]:
    """What pages call the authors that are counted under these names."""
    labels = {PEOPLE: _("People"), UNKNOWN: _("Unknown author"), OTHER_MODELS: _("Other models")}
    wanted = list(names)
    found = Author.objects.in_bulk([int(name) for name in wanted if name.isdecimal()])
    known = {str(key): author.name for key, author in found.items()}
    return {name: labels.get(name) or known.get(name, name) for name in wanted}


def _by_number(groups: Mapping[str, Share]) -> list[tuple[str, Share]]:
    return sorted(groups.items(), key=lambda item: int(item[0]))


def _doubled(name: str, label: str, share: Share, **more: Share) -> WinRow:
    """Of a win rate, whose pairs are counted twice so that a tie is a whole number."""
    return WinRow(name=name, label=label, share=share, of=share.total // 2, **more)


def _plain(name: str, label: str, share: Share) -> WinRow:
    return WinRow(name=name, label=label, share=share, of=share.total)


def _size(group: int) -> str:
    if group == 0:
        return _("under %(most)s") % {"most": SIZES[0]}
    if group == len(SIZES):
        return _("%(least)s and more") % {"least": SIZES[-1]}
    return _("%(least)s to %(most)s") % {"least": SIZES[group - 1], "most": SIZES[group] - 1}


def _step(number: int, edges: Sequence[float]) -> str:
    if number == len(edges) - 1:
        return _("%(least)s and more") % {"least": f"{edges[-1]:g}"}
    return _("%(least)s up to %(most)s") % {"least": f"{edges[number]:g}", "most": f"{edges[number + 1]:g}"}
