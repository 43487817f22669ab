"""One file of demonstrations: its rows, those held out, its templates, and an account of what became of every row."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from models_core.contract.errors import BadInput
from models_core.contract.rows import prompt_identity, row_parser
from models_core.contract.rows.prompt_identity import digest, text_digest
from models_core.contract.rows.records import Demonstration
from models_core.contract.settings import SFTConfig
from models_core.demonstrations import mixture
from models_core.demonstrations.examples import Encoder, Example
from models_core.demonstrations.mixture import Source
from models_core.demonstrations.templated_rows import Wording, as_written, worded
from models_core.demonstrations.templates import TemplateSet, read_templates, template_file


@dataclass(kw_only=True)
class Account:
    """What became of the rows of a data set, in rows."""

    rows: int = 0
    held_out: int = 0
    used: int = 0
    too_long_responses: int = 0  # left out: not even a short prompt fits beside the response
    no_template_fits: int = 0  # left out: every template names a field that the row lacks
    truncated_prompts: int = 0  # used, but the oldest turns had to go
    fewer_examples: int = 0  # used, with fewer worked examples than were drawn
    merged_turns: int = 0  # turns of an assistant that had spoken just before

    def as_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(kw_only=True)
class DataSet:
    """Rows of one file. `number` tells its draws from those of the other files."""

    path: Path
    number: int
    rows: list[Demonstration]
    held_out: list[Demonstration] = field(default_factory=list)
    templates: TemplateSet | None = None
    weight: Fraction = Fraction(1)
    account: Account = field(default_factory=Account)

    @classmethod
    def of(cls, path: str | Path | None, *, number: int) -> "DataSet | None":
        """A file of earlier demonstrations, as they are, where one is given. Raises BadInput."""
        if path is None:
            return None
        rows = read_rows(Path(path), templates=None)
        account = Account(rows=len(rows), merged_turns=sum(row.merged_turns for row in rows))
        return cls(path=Path(path), number=number, rows=rows, account=account)

    def examples(self, encoder: Encoder) -> list[Example]:
        """Its rows as tokens, once each."""
        return list(self.source(encoder, epochs=1).passes[0])

    def source(self, encoder: Encoder, *, epochs: int) -> Source:
        """Its rows as tokens: worded anew for each pass where there are templates. Raises BadInput if none is left."""
        passes = mixture.passes_over(self.weight, epochs=epochs) if self.templates else 1
        encoded = []
        happened: Counter[str] = Counter()
        for place, row in enumerate(self.rows):
            examples, events = self._encoded(row, encoder, draws=[f"{place}/{number}" for number in range(passes)])
            happened.update(events)
            if examples:
                encoded.append(examples)
        self.account = replace(self.account, **happened)
        self.account.used = len(encoded)
        if not encoded:
            raise BadInput(f"{self.path.name}: no row can be learned from; {self._reasons(encoder)}.")
        return Source(passes=list(zip(*encoded, strict=True)), weight=self.weight)

    def held_out_examples(self, encoder: Encoder) -> list[Example]:
        """The rows that are measured on, each in one wording. Rows that do not fit are left out."""
        encoded = [
            self._encoded(row, encoder, draws=[f"held out/{place}"])[0] for place, row in enumerate(self.held_out)
        ]
        self.account.held_out = len(self.held_out)
        return [example for examples in encoded for example in examples]

    def _encoded(self, row: Demonstration, encoder: Encoder, *, draws: Sequence[str]) -> tuple[list[Example], set[str]]:
        """The row once for each draw, nothing where one of them does not work out, and what happened on the way."""
        examples: list[Example] = []
        events: set[str] = set()
        for draw in draws:
            wording = self._worded(row, draw=f"{encoder.settings.seed}/{self.number}/{draw}")
            if wording is None:
                return [], {"no_template_fits"}
            example, happened = encoder.encode(wording, row_id=row.id)
            if example is None:
                return [], set(happened)
            examples.append(example)
            events.update(happened)
        return examples, events

    def _worded(self, row: Demonstration, *, draw: str) -> Wording | None:
        if self.templates is None:
            return as_written(row)
        return worded(row, templates=self.templates, pool=self.rows, draw=draw)

    def _reasons(self, encoder: Encoder) -> str:
        reasons = {
            f"responses too long for max_length ({encoder.max_length} tokens)": self.account.too_long_responses,
            "rows that no template fits": self.account.no_template_fits,
        }
        return ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)


def read_data_sets(
    files: Sequence[Path], *, templates: Sequence[Path | None], settings: SFTConfig, hold_out: bool
) -> list[DataSet]:
    """The files with their templates and weights; with `hold_out` part of each one's prompts is put aside.

    Raises BadInput.
    """
    weights = mixture.data_weights(settings.data_weights, files=len(files))
    sets = []
    for number, (path, wordings, weight) in enumerate(zip(files, templates, weights, strict=True)):
        template_set = read_templates(wordings) if wordings is not None else None
        rows = read_rows(path, templates=template_set)
        account = Account(rows=len(rows), merged_turns=sum(row.merged_turns for row in rows))
        training, held_out = rows, list[Demonstration]()
        if hold_out:
            training, held_out = prompt_identity.hold_out(rows, fraction=settings.held_out, digest_of=_prompt_digest)
        sets.append(
            DataSet(
                path=path,
                number=number,
                rows=training,
                held_out=held_out,
                templates=template_set,
                weight=weight,
                account=account,
            )
        )
    return sets


def _prompt_digest(row: Demonstration) -> str:
    """The digest of a row's prompt, or of the fields that a template makes one from."""
    if row.messages:
        return digest(row.messages)
    return text_digest(json.dumps(row.fields, sort_keys=True, ensure_ascii=False))


def read_rows(path: Path, *, templates: TemplateSet | None) -> list[Demonstration]:
    """Demonstrations; with templates also rows that only they make whole. Raises BadInput."""
    rows: list[Demonstration] = row_parser.read(path, "tasks" if templates else "demonstrations")
    return rows


def template_files(given: Sequence[str], *, files: int) -> list[Path | None]:
    """One template file, or None, for each data file: one given for all of them, or one each. Raises BadInput."""
    found = [None if name == "none" else template_file(name) for name in given] or [None]
    if len(found) not in (1, files):
        raise BadInput(
            f"--templates is given {len(found)} times for {files} data files: once for all, or once for each."
        )
    return found * files if len(found) == 1 else found


def totals(accounts: Sequence[Account]) -> dict[str, int]:
    """Sums over data sets."""
    summed: Counter[str] = Counter()
    for account in accounts:
        summed.update(account.as_json())
    return {name: summed[name] for name in asdict(Account())}
