"""Orderings of responses with ties: tiers in, ranks and pairs out. Pure; no database."""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Self

from django.utils.translation import gettext as _

from annotate.errors import InvalidOrdering, UnknownResponse


@dataclass(frozen=True)
class Ordering:
    """Response ids in tiers, best tier first. Ids in one tier are tied; ids of the task in no tier are not ranked."""

    tiers: tuple[tuple[int, ...], ...]

    @classmethod
    def validated(cls, tiers: Any, response_ids: Iterable[int]) -> Self:
        """An ordering of some or all of `response_ids`, from untrusted lists of lists.

        Raises InvalidOrdering for another shape, an empty tier or an id given twice, and UnknownResponse for an id that
        isn't among `response_ids`.
        """
        if not isinstance(tiers, list | tuple) or not all(isinstance(tier, list | tuple) for tier in tiers):
            raise InvalidOrdering(_("An ordering is a list of tiers, each a list of responses."))
        if not all(tiers):
            raise InvalidOrdering(_("A tier of the ordering is empty."))
        ids = [response_id for tier in tiers for response_id in tier]
        if not all(isinstance(response_id, int) and not isinstance(response_id, bool) for response_id in ids):
            raise InvalidOrdering(_("Responses in an ordering are named by their numbers."))
        if strangers := set(ids) - set(response_ids):
            raise UnknownResponse(_("Response %(number)s doesn't belong to this task.") % {"number": min(strangers)})
        if len(set(ids)) != len(ids):
            twice = next(response_id for response_id in ids if ids.count(response_id) > 1)
            raise InvalidOrdering(_("Response %(number)s stands in the ordering twice.") % {"number": twice})
        return cls(tuple(tuple(tier) for tier in tiers))

    @classmethod
    def stored(cls, tiers: Iterable[Iterable[int]] | None) -> Self:
        """An ordering out of a record, which was checked when it was written; none at all is one of nothing."""
        return cls(tuple(tuple(tier) for tier in tiers or ()))

    @classmethod
    def from_ranks(cls, ranks: dict[int, int | None]) -> Self:
        """The ordering that gives each id its rank; only the order of the ranks matters, None leaves an id unranked."""
        given = sorted({rank for rank in ranks.values() if rank is not None})
        return cls(tuple(tuple(key for key, rank in ranks.items() if rank == level) for level in given))

    def ranks(self) -> dict[int, int]:
        """Dense ranks: 1 is best, ties share a rank, and the next tier has the next whole number (1, 2, 2, 3)."""
        return {response_id: rank for rank, tier in enumerate(self.tiers, start=1) for response_id in tier}

    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) for every two responses of different tiers."""
        return [pair for upper, lower in combinations(self.tiers, 2) for pair in product(upper, lower)]

    def ties(self) -> list[tuple[int, int]]:
        """Every two responses of one tier."""
        return [pair for tier in self.tiers for pair in combinations(tier, 2)]

    def in_letters(self, presentation: Sequence[int]) -> str:
        """ "B > A = D": A is the response that the labeler saw first. Empty where nothing is ranked."""
        letters = dict(zip(presentation, string.ascii_uppercase, strict=False))
        return " > ".join(" = ".join(sorted(letters.get(key, "?") for key in tier)) for tier in self.tiers)

    def __len__(self) -> int:
        """How many responses are ranked."""
        return sum(len(tier) for tier in self.tiers)
