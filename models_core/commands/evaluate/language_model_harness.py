"""lm-evaluation-harness on a model of ours, by the harness's own interface (`lm_eval.api.model.LM`).

The harness chooses prompts, examples and metrics of its tasks; `HarnessRequests` answers its three kinds of request
with our loading, our log-probabilities and our sampling. What is truncated, is truncated from the left, as the
harness's own model for transformers does it.
"""

import importlib.util
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from models_core.commands.output import markdown_tables
from models_core.contract.atomic_write import write_json, write_lines
from models_core.contract.errors import BadInput
from models_core.contract.runs.progress import Ticker
from models_core.contract.runs.run_folder import finite
from models_core.contract.runs.stopping import StopSignal
from models_core.generation import generate
from models_core.modeling import chat, loading, tokenization
from models_core.modeling.forward import response_scores
from models_core.modeling.packing import Group, pack
from models_core.modeling.tokenizer_files import first_line
from models_core.training import precision
from models_core.training.batching import micro_batches

MAX_NEW_TOKENS = 256
"""Of a request that doesn't say how many, as in the harness."""
NOT_INSTALLED = "lm-evaluation-harness is not installed: pip install lm_eval"

NUM_DOCUMENTS = "sample_len"


def run(
    *,
    model: str,
    tasks: Sequence[str],
    out: Path,
    include: Path | None = None,
    limit: int | None = None,
    shots: int | None = None,
    chat_format: bool = False,
    budget: int,
    batch_size: int,
    precision_name: str,
    seed: int,
    device: torch.device,
    stop: StopSignal,
) -> dict[str, Any]:
    """Write the harness's results to OUT and a table beside it; its figures, flat. Raises BadInput, Stopped."""
    if importlib.util.find_spec("lm_eval") is None:
        raise BadInput(f"{NOT_INSTALLED}.")
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    if loading.is_reward_model(model):
        raise BadInput(f"{model} is a reward model; lm-evaluation-harness measures language models.")
    if out.suffix == ".md":
        raise BadInput(f"{out} would be overwritten by its own table; name a .json file with --out.")
    manager = TaskManager(include_path=str(include) if include is not None else None)
    if unknown := [name for name in tasks if not manager.match_tasks([name])]:
        raise BadInput(f"lm-evaluation-harness has no task {unknown[0]!r}.")
    answering = HarnessRequests(
        model,
        device=device,
        dtype=precision.dtype_of(precision.resolve(precision_name, device=device)),
        budget=budget,
        batch_size=batch_size,
        seed=seed,
        stop=stop,
    )
    try:
        found = evaluator.simple_evaluate(
            model=harness_model(answering),
            tasks=list(tasks),
            num_fewshot=shots,
            limit=limit,
            apply_chat_template=chat_format,
            task_manager=manager,
            log_samples=False,
            bootstrap_iters=1_000,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    except (ValueError, KeyError, OSError, ImportError) as error:
        # A task's data may be elsewhere, or what scores it missing: the harness says so in its own words.
        raise BadInput(f"lm-evaluation-harness refuses: {first_line(error)}") from error
    report = finite(
        {
            "model": model,
            "results": json.loads(json.dumps(found["results"], default=str)),
            "versions": found.get("versions", {}),
            "shots": found.get("n-shot", {}),
            "samples": json.loads(json.dumps(found.get("n-samples", {}), default=str)),
            "limit": limit,
            "chat_format": chat_format,
            "seed": seed,
        }
    )
    rows = list(figures(report["results"]))
    table = markdown_tables.table(["task", "metric", "value", "standard error"], [_cells(*row) for row in rows])
    write_lines(out.with_suffix(".md"), [f"# {model} by lm-evaluation-harness", "", *table])
    write_json(out, report)
    return {f"{task}/{metric}": value for task, metric, value, _error in rows}


def figures(results: dict[str, dict[str, Any]]) -> Iterable[tuple[str, str, float, float | None]]:
    """(task, metric, value, its standard error) of what the harness returns: keys "acc,none", "acc_stderr,none".

    "sample_len" is the number of documents, which the report has beside the results.
    """
    for task, measured in sorted(results.items()):
        for key, value in measured.items():
            metric, _comma, filter_name = key.partition(",")
            if metric == NUM_DOCUMENTS or metric.endswith("_stderr"):
                continue
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            error = measured.get(f"{metric}_stderr,{filter_name}")
            shown = metric if filter_name in ("", "none") else f"{metric} ({filter_name})"
            yield task, shown, float(value), float(error) if isinstance(error, int | float) else None


def _cells(task: str, metric: str, value: float, error: float | None) -> list[str]:
    return [task, metric, markdown_tables.shown(value), "" if error is None else markdown_tables.shown(error)]


def harness_model(answering: "HarnessRequests") -> Any:
    """An `LM` of the harness that passes its requests on. Raises ImportError without the package lm_eval."""
    from lm_eval.api.model import LM

    class HarnessModel(LM):
        tokenizer_name = answering.tokenizer_name

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return answering.loglikelihood([request.args for request in requests])

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            return answering.loglikelihood_rolling([request.args[0] for request in requests])

        def generate_until(self, requests: list[Any]) -> list[str]:
            return answering.generate_until([request.args for request in requests])

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            return answering.chat_text(chat_history, add_generation_prompt=add_generation_prompt)

    return HarnessModel()


class HarnessRequests:
    """The harness's requests, answered by one of our language models."""

    def __init__(
        self,
        model: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        budget: int,
        batch_size: int,
        seed: int,
        stop: StopSignal,
    ) -> None:
        self.tokenizer = loading.load_tokenizer(model)
        self.network = loading.load_policy(model, device=device, dtype=dtype)
        self.tokenizer_name = Path(model).name
        self.device, self.budget, self.batch_size = device, budget, batch_size
        self.seed, self.stop = seed, stop
        self.start = tokenization.start_id(self.tokenizer)
        # The last token of a row is predicted and not read.
        self.max_length = loading.context_length(self.network) - 1

    def loglikelihood(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """For each (context, continuation) log p(continuation | context), and whether greedy decoding gives it."""
        return self._scored([self._group(context, continuation) for context, continuation in pairs])

    def loglikelihood_rolling(self, texts: Sequence[str]) -> list[float]:
        """log p of each text, of which every token is predicted once, in windows as long as the model takes."""
        windows = [(place, group) for place, text in enumerate(texts) for group in self._windows(self._ids(text))]
        sums = [0.0] * len(texts)
        for (place, _group), (log_prob, _greedy) in zip(
            windows, self._scored([group for _place, group in windows]), strict=True
        ):
            sums[place] += log_prob
        return sums

    def generate_until(self, requests: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        """A continuation of each context, cut before the first of its `until`."""
        found: dict[int, str] = {}
        alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, (_context, options) in enumerate(requests):
            alike[_sampling(options)].append(place)
        for (max_new_tokens, temperature, top_k, top_p), places in alike.items():
            room = loading.context_length(self.network) - max_new_tokens
            if room < 1:
                raise BadInput(f"A task asks for {max_new_tokens} new tokens, more than the model's context holds.")
            prompts = [(self._ids(requests[place][0]) or [self.start])[-room:] for place in places]
            sampled = generate.sample(
                self.network,
                prompts,
                samples=1,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                stop_ids=chat.eos_ids(self.network, self.tokenizer),
                seed=self.seed,
                batch_size=self.batch_size,
                progress=Ticker("responses"),
                stop=self.stop,
            )
            for place, (response,) in zip(places, sampled, strict=True):
                ids = response.ids[:-1] if response.finish_reason == "stop" else response.ids
                text = self.tokenizer.decode(ids, skip_special_tokens=True)
                found[place] = _cut(text, _stops(requests[place][1]))
        return [found[place] for place in range(len(requests))]

    def chat_text(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        """A chat as the model's template writes it. Raises BadInput without one."""
        if not self.tokenizer.chat_template:
            raise BadInput("The model has no chat template: leave --chat-format out.")
        text: str = self.tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return text

    def _ids(self, text: str) -> list[int]:
        """Special tokens that a chat template wrote are read as such."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _group(self, context: str, continuation: str) -> Group:
        """Both as tokens. Blanks at the context's end belong to the continuation, whose first token they begin."""
        kept = context.rstrip()
        context, continuation = kept, context[len(kept) :] + continuation
        before, both = self._ids(context), self._ids(context + continuation)
        wanted = both[len(before) :]
        if not wanted:
            # Tokenised together, the two share their last token.
            before, wanted = both[:-1], both[-1:]
        if not context:
            before, wanted = [self.start], both or [self.start]
        wanted = wanted[-self.max_length :]
        return Group(before[-max(1, self.max_length + 1 - len(wanted)) :], [wanted])

    def _windows(self, ids: Sequence[int]) -> Iterable[Group]:
        """Rows in which every token is predicted once, from as much as the model takes."""
        row, end = [self.start, *ids], 1
        while end < len(row):
            last = min(len(row), end + self.max_length)
            first = max(0, last - self.max_length - 1)
            yield Group(row[first:end], [row[end:last]])
            end = last

    @torch.no_grad()
    def _scored(self, groups: Sequence[Group]) -> list[tuple[float, bool]]:
        found: dict[int, tuple[float, bool]] = {}
        ticker = Ticker("rows")
        for batch in micro_batches([group.tokens for group in groups], budget=self.budget):
            self.stop.check()
            members = [groups[place] for place in batch]
            sizes = [len(group.responses[0]) for group in members]
            log_probs, likeliest = response_scores(self.network, pack(members, device=self.device))
            for place, values, top in zip(batch, log_probs.split(sizes), likeliest.split(sizes), strict=True):
                total = float(values.double().sum())
                if not math.isfinite(total):
                    raise BadInput("A log-probability of the model is no finite number: its weights are damaged.")
                found[place] = (total, bool(top.all()))
            ticker(len(found), len(groups))
        return [found[place] for place in range(len(groups))]


def _sampling(options: dict[str, Any]) -> tuple[int, float, int, float]:
    """(new tokens, temperature, top_k, top_p) of the harness's `gen_kwargs`; greedy unless it says otherwise."""
    most = options.get("max_gen_toks", options.get("max_new_tokens", options.get("max_tokens", MAX_NEW_TOKENS)))
    temperature = float(options.get("temperature") or 0.0)
    if options.get("do_sample") is True and "temperature" not in options:
        temperature = 1.0
    if options.get("do_sample") is False:
        temperature = 0.0
    return int(most), temperature, int(options.get("top_k") or 0), float(options.get("top_p") or 1.0)


def _stops(options: dict[str, Any]) -> list[str]:
    until = options.get("until") or []
    return [until] if isinstance(until, str) else list(until)


def _cut(text: str, stops: Iterable[str]) -> str:
    for stop in stops:
        if stop:
            text = text.partition(stop)[0]
    return text
