"""Texts as they are shown, compared and tokenised: nothing vanishes, nothing runs, and it takes a moment."""

import random
from functools import cache
from html.parser import HTMLParser
from typing import Any

from annotate.data import text as stored_text
from annotate.labeling import model_self_identification
from annotate.people import guidelines
from annotate.rendering import markup
from models_core.modeling import chat
from models_core.training import corpus
from tests.annotate.rendering.test_rendered_letters import Text, letters
from tests.fuzz import hostile_data
from tests.fuzz.campaign import Part


def shown(rng: random.Random) -> None:
    """Markdown, mathematics and coloured code: every letter and digit in order, and no tag beyond the allowed ones."""
    written, breaks = hostile_data.text(rng), rng.random() < 0.5
    html = markup._rendered(written, breaks=breaks)
    assert letters(Text(html).shown) == letters(written), f"letters differ, of {written[:400]!r}"
    found = _Tags()
    found.feed(html)
    assert not found.wrong, f"{found.wrong} in the page of {written[:400]!r}"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        allowed = {"dir", "class", "href", "rel", "target"}
        is_odd = tag not in markup._TAGS or any(name not in allowed for name, _value in attrs)
        leads_away = any(name == "href" and not str(value).startswith(("http:", "https:", "mailto:"))
                         for name, value in attrs)  # fmt: skip
        if is_odd or leads_away:
            self.wrong.append((tag, attrs))


def compared(rng: random.Random) -> None:
    """Two versions of guidelines: what is shown as added or as it was is of the new one, removed or so of the old."""
    old = hostile_data.text(rng, longest=rng.choice([300, 20_000]))
    new = hostile_data.spliced(rng, old, hostile_data.text(rng, longest=3_000)) if rng.random() < 0.7 else old[::-1]
    lines = guidelines.compared(old, new)
    if any(line.change == "gap" for line in lines):
        return
    for source, mine in ((old, "removed"), (new, "added")):
        found = "".join(hunk.text for line in lines for hunk in line.hunks if hunk.change in ("same", mine))
        assert letters(found) == letters(source), f"{mine} {letters(found)[:200]!r}, of {old[:300]!r} and {new[:300]!r}"


def masked(rng: random.Random) -> None:
    """Hidden names of models come back where they were."""
    names = "I am GPT-4, an AI made by OpenAI. " if rng.random() < 0.5 else ""
    written = names + hostile_data.text(rng, longest=20_000)
    hidden = model_self_identification.mask_names(written)
    if model_self_identification.MASK not in written:
        back = model_self_identification.unmasked(hidden, original=written)
        assert back == written, f"other names in {written[:300]!r}"


def kept(rng: random.Random) -> None:
    """What a form brings is refused with a sentence, or kept as it was."""
    written = rng.choice(["", "\0", "\ud800", "a\udfff"]) + hostile_data.text(rng)
    if (flaw := stored_text.flaw(written)) is not None:
        assert flaw.strip()
        flaw.encode()
        assert set(written) & {"\0"} or not written.isprintable(), f"{flaw}: {written[:200]!r}"
    else:
        written.encode()


@cache
def _tokenizers() -> dict[str, Any]:
    from tests.models_core.modeling import test_plain_text

    return {name: make() for name, make in test_plain_text.TOKENIZERS.items()}


def tokenised(rng: random.Random) -> None:
    """No control token comes of what people write, and a text comes back from its tokens."""
    from tests.models_core.modeling.test_plain_text import SPELLED, control, solid

    name = rng.choice(list(_tokenizers()))
    tokenizer = _tokenizers()[name]
    written = hostile_data.text(rng, longest=4_000)
    if rng.random() < 0.5:
        written = hostile_data.spliced(rng, written, "".join(rng.choices(SPELLED, k=6)))
    (ids,) = corpus.encode([written], tokenizer, ends=False)
    assert not control(tokenizer, ids), f"{name}: control tokens of {written[:300]!r}"
    said = {"role": "assistant", "content": "a"}
    asked = [{"role": "user", "content": content} for content in ("hello", written)]
    chats = [[turn, said, turn] for turn in asked]
    plain, typed = (chat.fit_prompt(tokenizer, turns, max_tokens=100_000).ids for turns in chats)
    assert control(tokenizer, typed) == control(tokenizer, plain), f"{name}: control tokens in {written[:300]!r}"
    if name in ("llama 3", "header tokens not special"):  # of bytes; the others lose what they have no pieces for
        assert solid(tokenizer.decode(ids)) == solid(written), f"{name}: other text of {written[:300]!r}"


PARTS = [
    Part("shown", shown, seconds=0.25),
    Part("compared", compared, seconds=2.0),
    Part("masked", masked, seconds=0.5),
    Part("kept", kept, seconds=0.1),
    Part("tokenised", tokenised, seconds=2.0),
]
