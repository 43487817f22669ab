"""A row in the words it is shown in: a template drawn by seed, and worked examples of other rows before it.

The draw depends on seed, data set, row and pass alone, so a resumed run words every row as the first one did, and each
pass over the data words it anew. Standard library only.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from models_core.contract.rows.records import Demonstration, Message, Messages
from models_core.demonstrations.templates import Template, TemplateSet

TRIES = 8
"""Rows looked at for each worked example that is wanted; duplicates of the row itself are passed over."""


@dataclass(frozen=True, kw_only=True)
class Wording:
    """A row as prompt and response. `examples` are worked ones, as (prompt, response), that may be left out."""

    earlier: Messages  # what precedes the row's last turn
    prompt: str
    response: str
    examples: tuple[tuple[str, str], ...] = ()
    as_turns: bool = True

    def messages(self, *, shots: int) -> Messages:
        """The chat that awaits a response, with the first `shots` examples: as turns, or as text of its last turn."""
        shown = self.examples[:shots]
        if not self.as_turns:
            texts = [f"{prompt}\n{response}" for prompt, response in shown]
            return (*self.earlier, Message(role="user", content="\n\n".join([*texts, self.prompt])))
        turns = [
            Message(role=role, content=content)
            for example in shown
            for role, content in zip(("user", "assistant"), example, strict=True)
        ]
        return (*self.earlier, *turns, Message(role="user", content=self.prompt))


def as_written(row: Demonstration) -> Wording:
    """A demonstration without any template."""
    return Wording(earlier=row.messages[:-1], prompt=row.messages[-1]["content"], response=row.response)


def drawn_template(row: Demonstration, *, templates: TemplateSet, draw: str) -> Template | None:
    """The template that `worded` takes for a row under this draw; None where none fits."""
    return _drawn(row, templates=templates, generator=random.Random(draw))


def _drawn(row: Demonstration, *, templates: TemplateSet, generator: random.Random) -> Template | None:
    fitting = [template for template in templates.templates if template.word(row)]
    return generator.choice(fitting) if fitting else None


def worded(row: Demonstration, *, templates: TemplateSet, pool: Sequence[Demonstration], draw: str) -> Wording | None:
    """The row in a template and with as many examples from `pool` as `draw`, a seed, says; None where no template fits.

    Examples are worded by the same template. None asks what the row asks, and no two ask the same. A row that is a
    conversation gets none: they would stand in its middle.
    """
    generator = random.Random(draw)  # seeding with a text is stable across Python processes
    template = _drawn(row, templates=templates, generator=generator)
    if template is None:
        return None
    prompt, response = template.word(row) or ("", "")
    shots = generator.choice(templates.shots)
    earlier = row.messages[:-1]
    is_conversation = any(message["role"] != "system" for message in earlier)
    examples: dict[str, str] = {}
    for _ in range(0 if is_conversation or not pool else TRIES * shots):
        if len(examples) == shots:
            break
        other = pool[generator.randrange(len(pool))]
        example = template.word(other)
        if example and len(other.messages) < 3 and example[0] != prompt:
            examples.setdefault(*example)
    return Wording(
        earlier=earlier,
        prompt=prompt,
        response=response,
        examples=tuple(examples.items()),
        as_turns=templates.as_turns,
    )
