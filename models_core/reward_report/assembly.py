"""The whole report of a reward model, as RUN/report.json holds it (docs/reward_report.md says what each part means)."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_core.contract import processes
from models_core.contract.records import Ranking
from models_core.contract.run_folder import finite, write_json, write_lines
from models_core.contract.verdict_messages import VERSION
from models_core.reward_report import report_tables
from models_core.reward_report.heldout_judgments import Judged, comparison, pairs_of
from models_core.reward_report.measures import pair_accuracy
from models_core.reward_report.measures.example_pairs import examples
from models_core.reward_report.measures.labelers import labelers
from models_core.reward_report.measures.length_bias import length
from models_core.reward_report.measures.listwise import ordering, scores
from models_core.reward_report.measures.probability_calibration import calibration
from models_core.reward_report.verdict import verdict


def build(
    judgments: Sequence[Judged],
    *,
    everyone: Sequence[Ranking],
    shift: float = 0.0,
    scale: float = 1.0,
    newest: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything there is to say of held-out `judgments`, as strict JSON.

    `everyone` are all judgments there are, those trained on too: how far labelers agree does not depend on the model.
    A score is (logit - shift) / scale. `newest` is what newest.measure says, where there was a reward model before.
    """
    pairs = pairs_of(judgments)
    right = pair_accuracy.overall(pairs)
    report: dict[str, Any] = {
        "version": VERSION,
        "judgments": len(judgments),
        "judgments_in_all": len(everyone),
        "comparisons": len({comparison(judged.ranking) for judged in judgments}),
        "prompts": right.prompts,
        "pairs": right.count,
        "too_long_responses": sum(judged.logits.count(None) for judged in judgments),
        "accuracy": right.value,
        "accuracy_low": right.low,
        "accuracy_high": right.high,
        "newest": newest,
    }
    if len(pairs):
        report |= {
            "by": pair_accuracy.by_group(pairs),
            "calibration": calibration(pairs),
            "length": length(pairs, judgments),
            "ordering": ordering(judgments),
            "labelers": labelers(pairs, everyone),
            "scores": scores(judgments, shift=shift, scale=scale),
            "examples": examples(pairs, shift=shift, scale=scale),
        }
    report["verdict"] = verdict(report)
    found: dict[str, Any] = finite(report)
    return found


def write(folder: Path, report: Mapping[str, Any]) -> None:
    """FOLDER/report.json, and the same in tables as FOLDER/report.md and on standard error."""
    if not processes.is_main():
        return
    text = report_tables.markdown(report)
    write_json(folder / "report.json", report)
    write_lines(folder / "report.md", ["# Reward model", "", text])
    print(text, file=sys.stderr, flush=True)


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """The figures by which a reward model is known, flat: for result.json and the last line of a command."""
    found = {name: report[name] for name in ("accuracy", "accuracy_low", "accuracy_high")}
    if report["pairs"]:
        found |= {
            "longer_wins_accuracy": report["length"]["longer_wins"]["accuracy"],
            "tau_b": report["ordering"]["tau_b"]["mean"],
            "top1": report["ordering"]["top1"]["share"],
            "ece": report["calibration"]["ece"],
            "labeler_agreement": report["labelers"]["agreement"]["share"],
        }
    if report["newest"]:
        found["newest_accuracy"] = report["newest"]["accuracy"]
    return found | {
        "eval_rankings": report["judgments"],
        "eval_pairs": report["pairs"],
        "verdict": report["verdict"]["sentence"],
        "ready_for_ppo": report["verdict"]["ready"],
    }
