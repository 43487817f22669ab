"""Keys and values in pages of 32 places that rows share: what prompts begin with alike, and a prompt's samples.

A row has a list of pages, with the number of places in use of each. Every page but a list's last is never written to
again; the last one only while no other list has it, else the row's next token begins a page of its own. Nothing is
padded: a row costs what it holds, and at most 31 places more for each border.
"""

from collections.abc import Sequence

import numpy
import torch
from numpy.typing import NDArray

from models_core.cpu_kernels.compiler.aligned_memory import aligned
from models_core.cpu_kernels.compiler.matmul_tile import WIDTH

Whole = NDArray[numpy.int64]


class Pages:
    """Memory for every layer's pages, and who uses which.

    memory: bf16 [layers, pages, key heads, keys and values, 32 x size], of which the system gives only what is written.
    """

    def __init__(self, *, layers: int, heads: int, size: int, pages: int) -> None:
        numbers = layers * pages * heads * 2 * WIDTH * size
        memory = aligned(numbers, dtype=torch.bfloat16)
        self.memory = memory.view(layers, pages, heads, 2, WIDTH * size)
        self.users = numpy.zeros(pages, dtype=numpy.int64)
        self.free = list(range(pages - 1, -1, -1))

    def taken(self) -> int:
        page = self.free.pop()
        self.users[page] = 1
        return page

    def let_go(self, pages: Sequence[int]) -> None:
        for page in pages:
            self.users[page] -= 1
            if not self.users[page]:
                self.free.append(page)

    def copied(self, page: int) -> int:
        """A page of one's own with the same content."""
        own = self.taken()
        self.memory[:, own] = self.memory[:, page]
        return own


class Lists:
    """The lists of pages of some rows: `pages` and `counts`, both [rows, entries], of which `used` [rows] are valid."""

    def __init__(self, store: Pages, *, rows: int, entries: int) -> None:
        self.store = store
        self.pages = numpy.zeros((rows, entries), dtype=numpy.int64)
        self.counts = numpy.zeros((rows, entries), dtype=numpy.int64)
        self.used = numpy.zeros(rows, dtype=numpy.int64)

    def __len__(self) -> int:
        return len(self.used)

    def begin(self, row: int, other: "Lists", source: int) -> None:
        """An empty row becomes what another list's row is, sharing its pages."""
        used = other.used[source]
        self.pages[row, :used] = other.pages[source, :used]
        self.counts[row, :used] = other.counts[source, :used]
        self.used[row] = used
        self.store.users[self.pages[row, :used]] += 1

    def extend(self, row: int, count: int) -> tuple[Whole, Whole]:
        """Room for `count` places more in a row: the page and the slot of each, [count] both."""
        pages, slots = [], []
        while count:
            if self._is_closed(row):
                self._append_page(row)
            last = self.used[row] - 1
            start = self.counts[row, last]
            taken = min(count, WIDTH - start)
            pages.append(numpy.full(taken, self.pages[row, last]))
            slots.append(numpy.arange(start, start + taken))
            self.counts[row, last] += taken
            count -= taken
        return numpy.concatenate(pages), numpy.concatenate(slots)

    def advance(self) -> tuple[Whole, Whole]:
        """Room for one place more in every row: the page and the slot of each, [rows] both."""
        rows = numpy.arange(len(self))
        last = self.used - 1
        full = (self.counts[rows, last] == WIDTH) | (self.store.users[self.pages[rows, last]] > 1)
        for row in full.nonzero()[0]:
            self._append_page(row)
        last = self.used - 1
        slots = self.counts[rows, last]
        self.counts[rows, last] += 1
        return self.pages[rows, last], slots

    def _is_closed(self, row: int) -> bool:
        last = self.used[row] - 1
        return bool(last < 0 or self.counts[row, last] == WIDTH or self.store.users[self.pages[row, last]] > 1)

    def _append_page(self, row: int) -> None:
        self.pages[row, self.used[row]] = self.store.taken()
        self.counts[row, self.used[row]] = 0
        self.used[row] += 1

    def reindex(self, rows: Sequence[int]) -> None:
        """Row i becomes what row rows[i] was; one may be taken several times, and the others let their pages go.

        A last page that is not full and has several takers is copied for all but the first, so that lists stay short.
        """
        kept = numpy.asarray(rows, dtype=numpy.int64)
        usual = self.pages, self.used
        self.pages, self.counts, self.used = self.pages[kept], self.counts[kept], self.used[kept]
        for row, used in enumerate(self.used):
            self.store.users[self.pages[row, :used]] += 1
        for row, used in enumerate(usual[1]):
            self.store.let_go(usual[0][row, :used].tolist())
        seen: set[int] = set()
        for row, source in enumerate(kept.tolist()):
            last = self.used[row] - 1
            if source in seen and self.counts[row, last] < WIDTH:
                page = int(self.pages[row, last])
                self.pages[row, last] = self.store.copied(page)
                self.store.let_go([page])
            seen.add(source)

    def let_go(self) -> None:
        """Nobody asks for these rows any more."""
        self.reindex([])
