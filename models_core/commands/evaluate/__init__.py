"""Measure a model and write a report: what is measured follows from the model and from what the file holds.

- A language model on text (.txt, or rows with "text"): perplexity, bits per byte.
- A language model on demonstrations: the perplexity of their responses; where rows carry a "label", how well it is
  predicted; and, of `num_generated` rows, the similarity of the model's own response to the row's.
- A reward model on rankings or pairs: the whole report that its training leaves too (models_core/reward_report).
- Two language models on prompts (`--against`, `--reward`): how often the reward model scores the first one's response
  higher; a tie counts as half a win.

OUT is JSON; the same in tables lies beside it as Markdown.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from models_core.commands.evaluate import demonstration_metrics, perplexity, win_rate
from models_core.commands.output import markdown_tables
from models_core.contract.atomic_write import write_json, write_lines
from models_core.contract.errors import BadInput
from models_core.contract.rows import row_parser
from models_core.contract.runs.run_folder import finite
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import EvaluateConfig
from models_core.modeling import loading
from models_core.reward_report import assembly
from models_core.reward_report import report_tables as reward_tables
from models_core.training import precision


def run(
    settings: EvaluateConfig,
    *,
    model: str,
    data: str | Path,
    out: str | Path,
    against: str | None = None,
    reward: str | None = None,
    templates: str | None = None,
    device: torch.device,
    stop: StopSignal,
) -> dict[str, Any]:
    """Write OUT and its tables, and return what OUT holds. Raises BadInput, Stopped."""
    if (against is None) != (reward is None):
        raise BadInput("A win rate needs both: --against, the other model, and --reward, the judge.")
    if templates is not None and (against is not None or loading.is_reward_model(model)):
        raise BadInput("--templates word what a language model is measured on alone, without --against.")
    out = Path(out)
    if out.suffix == ".md":
        raise BadInput(f"{out} would be overwritten by its own tables; name a .json file with --out.")
    dtype = precision.dtype_of(precision.resolve(settings.precision, device=device))
    if against is not None and reward is not None:
        report = win_rate.win_rate(
            settings, model=model, against=against, reward=reward, data=data, device=device, dtype=dtype, stop=stop
        )
    elif loading.is_reward_model(model):
        report = win_rate.reward_report(settings, model=model, data=data, device=device, dtype=dtype)
    elif templates is None and _is_text(Path(data)):
        report = perplexity.of_text(settings, model=model, data=data, device=device, dtype=dtype, stop=stop)
    else:
        report = demonstration_metrics.measure(
            settings, model=model, data=data, templates=templates, device=device, dtype=dtype, stop=stop
        )
    report = finite(report)
    write_lines(out.with_suffix(".md"), [f"# {model} on {Path(data).name}", "", text(report)])
    write_json(out, report)
    return report


def text(report: Mapping[str, Any]) -> str:
    """A report as tables."""
    return reward_tables.markdown(report) if "verdict" in report else markdown_tables.markdown(report)


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """The command's last line: all of a report, or of a reward model's long one the figures it is known by."""
    if "verdict" not in report:
        return dict(report)
    rates = {name: report[name] for name in ("rankings", "pairs", "seconds", "rankings_per_s")}
    return assembly.headline(report) | rates


def _is_text(data: Path) -> bool:
    """Whether a file holds text and no chats: by its name, or by its first row."""
    if data.suffix == ".txt":
        return True
    _, first = next(row_parser.rows(data), (0, {}))
    return "text" in first and "prompt" not in first
