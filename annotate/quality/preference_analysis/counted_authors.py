"""The models of a project whose responses are counted by name. Pure; no database.

Sums have a row a month, which holds a few numbers for each author: their number has to be bounded, whatever a file
says who wrote its responses. A model is counted by name from its first judged task on while there is room, and for
ever; models that come later are counted together. So what a task adds can be taken out again exactly.
"""

from collections.abc import Iterable

from annotate.models import Author

MOST_MODELS = 40
PEOPLE, UNKNOWN, OTHER_MODELS = "people", "unknown", "others"


class CountedAuthors:
    """The numbers of the models counted by name, in the order in which they came. `grew`: whether some came here."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self.numbers = list(numbers)
        self.grew = False
        self._known = set(self.numbers)

    def group(self, number: int, kind: str) -> str:
        """Under which name the responses of an author are counted."""
        if kind != Author.Kind.MODEL:
            return PEOPLE if kind == Author.Kind.PERSON else UNKNOWN
        if number not in self._known:
            if len(self._known) >= MOST_MODELS:
                return OTHER_MODELS
            self._known.add(number)
            self.numbers.append(number)
            self.grew = True
        return str(number)
