"""The whole report of a reward model, as in RUN/report.json (docs/reward_report.md explains each part)."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_core.contract.atomic_write import write_json, write_lines
from models_core.contract.reports.verdict_messages import VERSION
from models_core.contract.rows.records import Ranking
from models_core.contract.runs import processes
from models_core.contract.runs.run_folder import finite
from models_core.reward_report import report_tables
from models_core.reward_report.heldout_judgments import ScoredJudgment, comparison_key, ordered_pairs
from models_core.reward_report.measures import pair_accuracy
from models_core.reward_report.measures.benchmark_subsets import section_rows, subset_figures
from models_core.reward_report.measures.example_pairs import example_pairs
from models_core.reward_report.measures.labelers import labeler_agreement
from models_core.reward_report.measures.length_bias import length_metrics
from models_core.reward_report.measures.listwise import listwise_metrics, score_distribution
from models_core.reward_report.measures.probability_calibration import calibration_metrics
from models_core.reward_report.verdict import verdict


def build(
    judgments: Sequence[ScoredJudgment],
    *,
    all_rankings: Sequence[Ranking],
    shift: float = 0.0,
    scale: float = 1.0,
    newest: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report on held-out `judgments`, as strict JSON.

    `all_rankings`: every judgment, training ones too, since labeler agreement does not depend on the model. A score is
    (logit - shift) / scale. `newest`: see previous_model.evaluate.
    """
    pairs = ordered_pairs(judgments)
    accuracy = pair_accuracy.accuracy(pairs)
    report: dict[str, Any] = {
        "version": VERSION,
        "judgments": len(judgments),
        "judgments_in_all": len(all_rankings),
        "comparisons": len({comparison_key(judgment.ranking) for judgment in judgments}),
        "prompts": accuracy.prompts,
        "pairs": accuracy.count,
        "too_long_responses": sum(judgment.logits.count(None) for judgment in judgments),
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "newest": newest,
    }
    if len(pairs):
        report |= {
            "by": ({"section": sections} if (sections := section_rows(pairs)) else {}) | pair_accuracy.by_group(pairs),
            "subsets": subset_figures(pairs, sections),
            "calibration": calibration_metrics(pairs),
            "length": length_metrics(pairs, judgments),
            "ordering": listwise_metrics(judgments),
            "labelers": labeler_agreement(pairs, all_rankings),
            "scores": score_distribution(judgments, shift=shift, scale=scale),
            "examples": example_pairs(pairs, shift=shift, scale=scale),
        }
    report["verdict"] = verdict(report)
    strict: dict[str, Any] = finite(report)
    return strict


def write(folder: Path, report: Mapping[str, Any]) -> None:
    """Write FOLDER/report.json, and its tables to FOLDER/report.md and standard error."""
    if not processes.is_main():
        return
    text = report_tables.markdown(report)
    write_json(folder / "report.json", report)
    write_lines(folder / "report.md", ["# Reward model", "", text])
    print(text, file=sys.stderr, flush=True)


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """The main figures as a flat dict: for result.json and the last line of a command."""
    figures = {name: report[name] for name in ("accuracy", "accuracy_low", "accuracy_high")}
    if report["pairs"]:
        figures |= {
            "longer_wins_accuracy": report["length"]["longer_wins"]["accuracy"],
            "tau_b": report["ordering"]["tau_b"]["mean"],
            "top1": report["ordering"]["top1"]["share"],
            "ece": report["calibration"]["ece"],
            "labeler_agreement": report["labelers"]["agreement"]["share"],
        }
    if subsets := report.get("subsets"):
        figures["subset_accuracy"] = subsets["mean"]
        figures |= {"rewardbench_score": subsets["score"]} if subsets["score"] is not None else {}
    if report["newest"]:
        figures["newest_accuracy"] = report["newest"]["accuracy"]
    return figures | {
        "eval_rankings": report["judgments"],
        "eval_pairs": report["pairs"],
        "verdict": report["verdict"]["sentence"],
        "ready_for_ppo": report["verdict"]["ready"],
    }
