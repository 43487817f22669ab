"""A report's figures in plain sentences: is the reward model good enough for PPO, and if not, what to collect.

The rules are asked in their order, and the first that holds is the verdict. All of them read intervals and not only
figures: where few prompts are held out the verdict says that, and no more. What else is worth knowing follows as
findings.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from models_core.contract.reports.verdict_messages import sentence

ENOUGH = 0.65
"""Accuracy that PPO can gain from. InstructGPT's reward models reached 72%, Llama 2's 63 to 70%."""
SURELY = 0.55
"""The accuracy's interval must lie above this."""
FEWEST_PROMPTS = 30
"""Held-out prompts below which nothing is said of a model or of a group."""
DISAGREEING = 0.6
"""Labelers who agree on fewer pairs than this can teach no model."""
LEANING = 0.15
"""By how much more often than people a model may pick the longer response."""
LEANING_CORRELATION = 0.5
FAR_BELOW = 0.05
"""A group this far below the accuracy over all is worth a sentence."""
OVERCONFIDENT = 1.5
"""A temperature from which on differences of scores count as exaggerated."""
WANTED_HALF_WIDTH = 0.05
"""How exactly an accuracy should be known: an interval this far to either side."""

Values = dict[str, Any]


class Finding(NamedTuple):
    """A sentence (wording.SENTENCES) with the values that it names, and what it means for PPO.

    is_ready: True, False, or None where it can't be told. Shares are floats, counts whole numbers, names strings.
    """

    code: str
    values: Values
    is_ready: bool | None = None


def verdict(report: Mapping[str, Any]) -> dict[str, Any]:
    """{"ready": True | False | None, "code", "values", "sentence", "findings": [{"code", "values", "sentence"}]}."""
    found = _verdict(report)
    findings = [finding for rule in FINDINGS for finding in rule(report)] if report["pairs"] else []
    return {
        "ready": found.is_ready,
        **_worded(found),
        "findings": [_worded(finding) for finding in findings if finding.code != found.code],
    }


def _worded(finding: Finding) -> dict[str, Any]:
    return {"code": finding.code, "values": finding.values, "sentence": sentence(finding.code, finding.values)}


def _verdict(report: Mapping[str, Any]) -> Finding:
    if not report["pairs"]:
        return Finding("no_held_out", {})
    accuracy, low, high = report["accuracy"], report["accuracy_low"], report["accuracy_high"]
    bar = wanted_accuracy(report)
    values = {"accuracy": accuracy, "low": low, "high": high}
    more = {"prompts": report["prompts"], "more": judgments_wanted(report)}
    if report["prompts"] < FEWEST_PROMPTS:
        return Finding("too_few", values | more)
    if high < 0.5:
        return Finding("reversed", values, is_ready=False)
    if low <= 0.5:
        return Finding("chance", values, is_ready=False) if high < bar else Finding("too_few", values | more)
    agreement = report["labelers"]["agreement"]
    if _is_measured(agreement) and agreement["high"] < DISAGREEING:
        return Finding("disagree", {"agreement": agreement["share"]}, is_ready=False)
    if (against := _only_length(report)) is not None:
        return Finding(f"only_{report['length']['rule']}", {"against": against}, is_ready=False)
    weakest = _weakest_group(report, below=bar)
    there = {} if weakest is None else {"group": weakest["name"], "group_accuracy": weakest["accuracy"]}
    if accuracy >= bar and low > SURELY:
        return Finding("good_except" if there else "good", values | there, is_ready=True)
    if accuracy >= bar:
        return Finding("unsure", values | more)
    if high >= bar:
        return Finding("almost", values | {"bar": bar})
    return Finding("weak_in" if there else "weak", values | {"bar": bar} | there, is_ready=False)


def wanted_accuracy(report: Mapping[str, Any]) -> float:
    """ENOUGH, or as much as labelers agree with each other where that is less."""
    agreement = report["labelers"]["agreement"]
    return min(ENOUGH, agreement["share"]) if _is_measured(agreement) else ENOUGH


def judgments_wanted(report: Mapping[str, Any]) -> int:
    """About how many more judgments make the interval as narrow as WANTED_HALF_WIDTH, to two digits.

    An interval narrows with the root of the prompts it rests on; of new judgments the same part will be held out. With
    few prompts the width itself is a guess, so it is taken to be at least that of as many coins tossed.
    """
    half_width = max((report["accuracy_high"] - report["accuracy_low"]) / 2, 0.4 / math.sqrt(report["prompts"]))
    growth = max((half_width / WANTED_HALF_WIDTH) ** 2 - 1, 0.1)
    wanted = growth * report["judgments_in_all"]
    step = 10 ** max(math.floor(math.log10(max(wanted, 1))) - 1, 0)
    return max(math.ceil(wanted / step) * step, 10)


def _only_length(report: Mapping[str, Any]) -> float | None:
    """The accuracy where people went against the length rule, if the model does no better than that rule."""
    lead, against = report["length"]["lead"], report["length"]["against_rule"]
    if lead["low"] is None or lead["low"] > 0 or not _is_measured(against) or against["high"] >= 0.5:
        return None
    return float(against["accuracy"])


def _weakest_group(report: Mapping[str, Any], *, below: float) -> Mapping[str, Any] | None:
    """The language in which the model is surely weaker than it should be, and than it is over all."""
    rows = report["by"].get("language", [])
    weak = [
        row
        for row in rows
        if row["name"] and _is_measured(row) and row["high"] < min(below, report["accuracy"]) and len(rows) > 1
    ]
    return min(weak, key=lambda row: row["accuracy"], default=None)


def _is_measured(part: Mapping[str, Any]) -> bool:
    return part["prompts"] >= FEWEST_PROMPTS


def _of_labelers(report: Mapping[str, Any]) -> list[Finding]:
    labelers, agreement = report["labelers"], report["labelers"]["agreement"]
    judges = {row["name"] for row in report["by"].get("judge", [])}
    if judges == {"ai"}:
        return [Finding("only_machines", {})]
    if _is_measured(agreement) and report["accuracy_high"] >= agreement["share"] and report["accuracy_low"] > SURELY:
        return [Finding("at_ceiling", {"agreement": agreement["share"]})]
    if labelers["number"] == 1:
        return [Finding("one_labeler", {})]
    return [Finding("no_overlap", {})] if labelers["number"] > 1 and not agreement["pairs"] else []


def _of_length(report: Mapping[str, Any]) -> list[Finding]:
    length = report["length"]
    model, people = length["model_prefers_longer"], length["people_prefer_longer"]
    if not _is_measured(model):
        return []
    ahead, within_prompt_correlation = model["share"] - people["share"], length["correlation_within_prompt"] or 0.0
    if ahead >= LEANING or (within_prompt_correlation >= LEANING_CORRELATION and ahead > 0):
        return [Finding("leans_longer", {"model": model["share"], "people": people["share"]})]
    if -ahead >= LEANING or (-within_prompt_correlation >= LEANING_CORRELATION and ahead < 0):
        return [Finding("leans_shorter", {"model": 1 - model["share"], "people": 1 - people["share"]})]
    return []


def _of_calibration(report: Mapping[str, Any]) -> list[Finding]:
    found = report["calibration"]
    temperature = found["temperature"]
    if temperature is None or temperature < OVERCONFIDENT or found["ece"] <= found["ece_of_chance"]:
        return []
    return [Finding("overconfident", {"temperature": temperature})]


def _of_groups(report: Mapping[str, Any]) -> list[Finding]:
    languages = report["by"].get("language", [])
    thin = [
        Finding("thin", {"prompts": row["prompts"], "group": row["name"]})
        for row in languages
        if row["name"] and len(languages) > 1 and not _is_measured(row)
    ]
    return thin + [finding for kind in ("source", "policy", "labeler") if (finding := _weak(report, kind)) is not None]


def _weak(report: Mapping[str, Any], kind: str) -> Finding | None:
    """The worst of the groups whose interval lies below that of all pairs, and which are far below them."""
    weak = [
        row
        for row in report["by"].get(kind, [])
        if row["name"] and _is_measured(row) and row["high"] < report["accuracy_low"]
    ]
    worst = min(weak, key=lambda row: row["accuracy"], default=None)
    if worst is None or report["accuracy"] - worst["accuracy"] < FAR_BELOW:
        return None
    there = {"group": worst["name"], "group_accuracy": worst["accuracy"]}
    return Finding(
        "weak_group", there | {"group_low": worst["low"], "group_high": worst["high"], "accuracy": report["accuracy"]}
    )


def _of_newest(report: Mapping[str, Any]) -> list[Finding]:
    newest = report["newest"]
    if newest is None or newest["accuracy"] is None or not _is_measured(newest):
        return []
    before = newest["before"]
    if before is not None and newest["high"] < before:
        return [Finding("aged", {"before": before, "newest": newest["accuracy"]})]
    return [Finding("holds", {"newest": newest["accuracy"], "low": newest["low"], "high": newest["high"]})]


FINDINGS: tuple[Callable[[Mapping[str, Any]], list[Finding]], ...] = (
    _of_labelers,
    _of_length,
    _of_calibration,
    _of_groups,
    _of_newest,
)
