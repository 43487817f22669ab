"""Classification by a language model: which label it gives a prompt, and how often that is the right one.

A demonstration's "label" says what its response says. What the response would be under another label follows from it:
where the label stands in the response once ("The review is positive."), the other one takes its place; else the label
alone is the response.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from models_core import language_models
from models_core.config import BadInput, EvaluateConfig
from models_core.evaluate.perplexity import log_probabilities
from models_core.records import Demonstration
from models_core.scoring import encode_group
from models_core.stopping import StopSignal

MOST = 1000
"""Labels beyond which the field holds no classes but something else."""


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


def candidate(row: Demonstration, label: str) -> str:
    """What the row's response would be if this were its label."""
    own = of(row)
    is_named = own is not None and len(re.findall(_word(own), row.response)) == 1
    return re.sub(_word(str(own)), lambda _: label, row.response) if is_named else label


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
    max_length = min(settings.max_length, language_models.context_length(network))
    encoded = [
        encode_group(tokenizer, row.messages, list(candidates.values()), max_length=max_length)
        for row, candidates in zip(rows, responses, strict=True)
    ]
    readable = [place for place, row in enumerate(encoded) if all(row.fits)]
    groups = [encoded[place][0] for place in readable]
    found: list[str | None] = [None] * len(rows)
    log_probs = log_probabilities(network, groups, budget=settings.micro_batch_tokens, device=device, stop=stop)
    for place, group, values in zip(readable, groups, log_probs, strict=True):
        means = [float(part.mean()) for part in values.split([len(response) for response in group.responses])]
        found[place] = list(responses[place])[means.index(max(means))]
    return found


def named(text: str, words: Mapping[str, str]) -> str | None:
    """The label whose word a written answer names: the answer itself, else the first in it; None where it names none.

    `words` says what each label is called.
    """
    plain = normalised(text)
    known = {normalised(word): label for label, word in words.items()}
    if plain in known:
        return known[plain]
    places = [
        (match.start(), -len(name), label) for name, label in known.items() if (match := re.search(_word(name), plain))
    ]
    return min(places)[2] if places else None


def normalised(text: str) -> str:
    """A text without case, punctuation, width of letters and spacing, for comparing answers."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[^\w\s]|_", " ", folded).split())


def _word(name: str) -> str:
    """A pattern for a name that is no part of a longer word; in Chinese, which has no spaces, it may be."""
    left, right = (
        (r"(?<![a-zA-Z0-9])" if name[:1].isascii() else ""),
        (r"(?![a-zA-Z0-9])" if name[-1:].isascii() else ""),
    )
    return f"{left}{re.escape(name)}{right}"


def figures(true: Sequence[str | None], predicted: Sequence[str | None], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy; precision, recall and F1 of every label, over labels (macro) and over rows (micro).

    A row without a prediction is wrong, and nobody's false alarm. A label that never occurs and is never predicted has
    scores of 0 and is not part of the macro average.
    """
    truth, guesses = [str(label) for label in true], ["" if label is None else label for label in predicted]
    each = precision_recall_fscore_support(truth, guesses, labels=list(labels), zero_division=0.0)
    seen = [label for label in labels if label in truth or label in guesses]
    report: dict[str, Any] = {
        "rows": len(truth),
        "without_prediction": guesses.count(""),
        "accuracy": float(accuracy_score(truth, guesses)),
    }
    for average in ("macro", "micro"):
        values = precision_recall_fscore_support(truth, guesses, labels=seen, average=average, zero_division=0.0)
        report |= {
            f"{average}_{name}": float(value)
            for name, value in zip(("precision", "recall", "f1"), values, strict=False)
        }
    report["per_label"] = {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)}
        for label, p, r, f, n in zip(labels, *each, strict=True)
    }
    return report
