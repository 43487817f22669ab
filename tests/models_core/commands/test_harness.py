"""lm-evaluation-harness's three kinds of request on a model of ours: equal to what plain transformers computes."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models_core.commands.evaluate import language_model_harness
from models_core.commands.evaluate.language_model_harness import HarnessRequests, figures, harness_model
from models_core.contract.errors import BadInput
from models_core.contract.runs.stopping import StopSignal
from tests.models_core.tiny import make_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def answering(tiny: Path) -> HarnessRequests:
    return HarnessRequests(
        str(tiny),
        device=torch.device("cpu"),
        dtype=torch.float32,
        budget=2_048,
        batch_size=4,
        seed=0,
        stop=StopSignal(),
    )


class Plain:
    """The same by transformers alone."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    @torch.no_grad()
    def log_probs(self, ids: list[int], last: int) -> tuple[float, bool]:
        logits = self.model(torch.tensor([ids[:-1]])).logits[0, -last:]
        wanted = torch.tensor(ids[-last:])
        values = logits.double().log_softmax(-1).gather(1, wanted[:, None])
        return float(values.sum()), bool((logits.argmax(-1) == wanted).all())

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_continuations_are_scored_as_plain_transformers_does(tiny: Path, answering: HarnessRequests) -> None:
    plain = Plain(tiny)
    start = plain.tokenizer.bos_token_id
    pairs = [("The sky is", " blue"), ("A: ", "yes"), ("", "hello"), ("x" * 700, " end"), ("Two words", " " * 3 + "on")]
    found = answering.loglikelihood(pairs)
    for (context, continuation), (log_prob, greedy) in zip(pairs, found, strict=True):
        whole = plain.ids(context + continuation)
        last = len(whole) - len(plain.ids(context.rstrip()))
        ids = whole if context else [start, *whole]
        expected = plain.log_probs(ids[-answering.max_length - 1 :], last)
        assert (log_prob, greedy) == (pytest.approx(expected[0], abs=1e-4), expected[1]), context[:10]
    # What greedy decoding gives, is greedy.
    (text,) = answering.generate_until([("The sky is", {"max_gen_toks": 3, "until": []})])
    ids = plain.ids("The sky is")
    for _step in range(3):
        ids.append(int(plain.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert text == plain.tokenizer.decode(ids[-3:], skip_special_tokens=True)


def test_a_text_is_predicted_once_in_windows(tiny: Path, answering: HarnessRequests) -> None:
    plain = Plain(tiny)
    short, long = "A short text.", "Longer. " * 200
    most, row = answering.max_length, [plain.tokenizer.bos_token_id, *plain.ids(long)]
    assert len(row) > 3 * most
    expected, end = 0.0, 1
    while end < len(row):
        last = min(len(row), end + most)
        expected += plain.log_probs(row[max(0, last - most - 1) : last], last - end)[0]
        end = last
    found = answering.loglikelihood_rolling([short, long, ""])
    alone, _greedy = plain.log_probs([plain.tokenizer.bos_token_id, *plain.ids(short)], len(plain.ids(short)))
    assert found == [pytest.approx(alone, abs=1e-3), pytest.approx(expected, abs=1e-2), 0.0]


def test_generation_stops_before_the_first_of_its_texts(answering: HarnessRequests) -> None:
    options = {"max_gen_toks": 24, "temperature": 0.0}
    (whole,) = answering.generate_until([("Q: why?\nA:", {**options, "until": []})])
    stop = whole[5:7]
    cut, again, sampled = answering.generate_until(
        [
            ("Q: why?\nA:", {**options, "until": [stop, "never"]}),
            ("Q: why?\nA:", {**options, "until": stop}),
            ("Q: why?\nA:", {"max_gen_toks": 8, "do_sample": True, "temperature": 2.0, "until": ["\n\n"]}),
        ]
    )
    assert cut == again == whole.partition(stop)[0]
    assert len(sampled.encode()) <= 24
    with pytest.raises(BadInput, match="asks for 5000 new tokens"):
        answering.generate_until([("Q", {"max_gen_toks": 5_000})])


class Instance:
    """A request as the harness has it."""

    def __init__(self, *args: Any) -> None:
        self.args = args


def test_the_harness_gets_its_own_interface(answering: HarnessRequests, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("lm_eval") is None:
        # The two names of the package that the adapter takes: its base class and where it is.
        package, api, model = ModuleType("lm_eval"), ModuleType("lm_eval.api"), ModuleType("lm_eval.api.model")
        model.LM = type("LM", (), {})  # type: ignore[attr-defined]
        for module in (package, api, model):
            monkeypatch.setitem(sys.modules, module.__name__, module)
    made = harness_model(answering)
    ((log_prob, greedy),) = made.loglikelihood([Instance("The sky is", " blue")])
    assert ([(log_prob, greedy)], made.tokenizer_name) == (answering.loglikelihood([("The sky is", " blue")]), "model")
    assert made.loglikelihood_rolling([Instance("Text")]) == answering.loglikelihood_rolling(["Text"])
    assert made.generate_until([Instance("Q", {"max_gen_toks": 2})]) == answering.generate_until(
        [("Q", {"max_gen_toks": 2})]
    )
    turns = [{"role": "user", "content": "Hi"}]
    assert made.apply_chat_template(turns) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    turns.append({"role": "assistant", "content": "So"})
    assert made.apply_chat_template(turns, add_generation_prompt=False).endswith("<|im_start|>assistant\nSo")


def test_figures_come_with_their_errors_and_filters() -> None:
    results = {
        "b": {
            "alias": "b",
            "acc,none": 0.5,
            "acc_stderr,none": 0.1,
            "exact_match,strict": 1,
            "exact_match_stderr,strict": "N/A",
        },
        "a": {"word_perplexity,none": 12.5, "sample_len": 3},
    }
    assert list(figures(results)) == [
        ("a", "word_perplexity", 12.5, None),
        ("b", "acc", 0.5, 0.1),
        ("b", "exact_match (strict)", 1.0, None),
    ]


def run_harness(tiny: Path, out: Path, **values: Any) -> dict[str, Any]:
    common: dict[str, Any] = {"budget": 2_048, "batch_size": 8, "precision_name": "fp32", "seed": 0}
    common |= {"device": torch.device("cpu"), "stop": StopSignal()}
    return language_model_harness.run(model=str(tiny), out=out, **common | values)


def test_without_the_package_a_sentence_says_so(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="lm-evaluation-harness is not installed: pip install lm_eval"):
        run_harness(tiny, tmp_path / "out.json", tasks=["arc_easy"])


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="the package lm_eval is not installed")
def test_a_task_of_ones_own_runs_by_the_package(tiny: Path, tmp_path: Path) -> None:
    rows = [{"question": f"{n} + 1 =", "choices": [str(n + 1), "no"], "answer": 0} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(
        f"""task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {tmp_path / "rows.jsonl"}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{{metric: acc}}]
"""
    )
    found = run_harness(tiny, tmp_path / "out.json", tasks=["sums"], include=tmp_path, limit=3)
    report = json.loads((tmp_path / "out.json").read_text())
    assert found["sums/acc"] == report["results"]["sums"]["acc,none"]
    assert report["samples"]["sums"]["effective"] == 3
    assert "| sums | acc " in (tmp_path / "out.md").read_text()
    with pytest.raises(BadInput, match="has no task 'nonesuch'"):
        run_harness(tiny, tmp_path / "out.json", tasks=["nonesuch"])
