"""Classification by a language model: which label it gives a prompt, and how often that is the right one.

A demonstration's "label" says what its response says. What the response would be under another label follows from it:
where the label stands in the response once ("The review is positive."), the other one takes its place; else the label
alone is the response.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from models_core.commands.evaluate.perplexity import log_probabilities
from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Demonstration
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import EvaluateConfig
from models_core.modeling import loading
from models_core.modeling.forward import encode_group

MOST = 1000
"""Labels beyond which the field holds no classes but something else."""
ZERO_DIVISION = 0.0
"""What a score is that would divide by zero: the precision of a label that is never predicted, for one."""


def of(row: Demonstration) -> str | None:
    """The label that a demonstration carries, if it does."""
    return row.fields.get("label")


def classes(rows: Sequence[Demonstration], *, given: str) -> list[str]:
    """The labels to choose from: those given, parted by commas, else those that occur. Raises BadInput."""
    occurring = {label for row in rows if (label := of(row)) is not None}
    chosen = list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip())) or sorted(occurring)
    if unknown := sorted(occurring - set(chosen)):
        raise BadInput(f"A row's label is {unknown[0]!r}, which is not among the labels ({', '.join(chosen)}).")
    if len(chosen) == 1 and occurring:
        raise BadInput(f"Every row has the label {chosen[0]!r}; name the others: --set labels=A,B,C.")
    if len(chosen) > MOST:
        raise BadInput(f"There are {len(chosen)} different labels; {MOST} are the most that can be measured.")
    return chosen


def candidate(row: Demonstration, label: str, classes: Sequence[str] = ()) -> str:
    """What the row's response would be if this were its label, one of the `classes`."""
    own = of(row)
    if own is None:
        return label
    found = [place for place in _mentions(row.response, {own, *classes}) if place[0] == own]
    if len(found) != 1:
        return label
    _, start, end = found[0]
    return row.response[:start] + label + row.response[end:]


def scored(
    rows: Sequence[Demonstration],
    responses: Sequence[Mapping[str, str]],
    network: Any,
    tokenizer: Any,
    *,
    settings: EvaluateConfig,
    device: torch.device,
    stop: StopSignal,
) -> list[str | None]:
    """For each row the label whose response is likeliest per token, EOS included; None where none fits the model.

    `responses` are what each row's response would be, by label. Per token, because the sum favours labels of few
    tokens. The prompt is computed once for all labels.
    """
    max_length = min(settings.max_length, loading.context_length(network))
    encoded = [
        encode_group(tokenizer, row.messages, list(candidates.values()), max_length=max_length)
        for row, candidates in zip(rows, responses, strict=True)
    ]
    readable = [place for place, row in enumerate(encoded) if all(row.fits)]
    groups = [encoded[place][0] for place in readable]
    found: list[str | None] = [None] * len(rows)
    log_probs = log_probabilities(network, groups, budget=settings.max_tokens_per_forward, device=device, stop=stop)
    for place, group, values in zip(readable, groups, log_probs, strict=True):
        means = [float(part.mean()) for part in values.split([len(response) for response in group.responses])]
        found[place] = list(responses[place])[means.index(max(means))]
    return found


def named(text: str, words: Mapping[str, str]) -> str | None:
    """The label whose word a response names: the response itself, else the first word in it; None without any.

    `words` says what each label is called. They are compared as they are first, and then in the loosest form in which
    all of them differ: C, C++ and C# are three labels, and so are 1 and -1.
    """
    exact = {" ".join(word.split()): label for label, word in words.items()}
    if (whole := " ".join(text.split())) in exact:
        return exact[whole]
    form = _form(list(words.values()))
    known = {form(word): label for label, word in words.items()}
    plain = form(text)
    if plain in known:
        return known[plain]
    mentions = _mentions(plain, known)
    return known[mentions[0][0]] if mentions else None


def normalised(text: str) -> str:
    """A text without case, punctuation, width of letters and spacing, for comparing responses."""
    return " ".join(re.sub(r"[^\w\s]|_", " ", folded(text)).split())


def folded(text: str) -> str:
    """A text without case, width of letters and spacing."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _form(names: Sequence[str]) -> Callable[[str], str]:
    """The loosest way to write these names in which all of them differ, and none is empty."""
    for form in (normalised, folded):
        forms = {form(name) for name in names}
        if len(forms) == len(set(names)) and all(forms):
            return form
    return _spaced


def _mentions(text: str, names: Collection[str]) -> list[tuple[str, int, int]]:
    """(name, start, end) of each name in a text that is no part of a longer one, from the left."""
    pattern = "|".join(_word(name) for name in sorted(filter(None, names), key=len, reverse=True))
    return [(match[0], match.start(), match.end()) for match in re.finditer(pattern, text)] if pattern else []


def _word(name: str) -> str:
    """A pattern for a name that is no part of a longer word; in Chinese, which has no spaces, it may be."""
    left = r"(?<![a-zA-Z0-9])" if name[:1].isascii() else ""
    right = r"(?![a-zA-Z0-9])" if name[-1:].isascii() else ""
    return f"{left}{re.escape(name)}{right}"


def figures(true: Sequence[str | None], predicted: Sequence[str | None], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy; precision, recall and F1 of every label, over labels (macro; weighted by rows) and over rows (micro).

    A row without a prediction is wrong, and nobody's false alarm. A label that never occurs and is never predicted has
    scores of 0 and is not part of the macro average.
    """
    truth, guesses = [str(label) for label in true], ["" if label is None else label for label in predicted]
    each = precision_recall_fscore_support(truth, guesses, labels=list(labels), zero_division=ZERO_DIVISION)
    seen = [label for label in labels if label in truth or label in guesses]
    report: dict[str, Any] = {
        "rows": len(truth),
        "without_prediction": guesses.count(""),
        "accuracy": float(accuracy_score(truth, guesses)),
        "zero_division": ZERO_DIVISION,
    }
    for average in ("macro", "micro", "weighted"):
        values = precision_recall_fscore_support(
            truth, guesses, labels=seen, average=average, zero_division=ZERO_DIVISION
        )
        report |= {
            f"{average}_{name}": float(value)
            for name, value in zip(("precision", "recall", "f1"), values, strict=False)
        }
    report["per_label"] = {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
        for label, p, r, f, n in zip(labels, *each, strict=True)
    }
    return report
