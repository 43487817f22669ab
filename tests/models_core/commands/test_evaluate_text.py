"""Perplexity of text: every token once, from the context that it really has."""

import json
import math

import pytest
import torch

from models_core.commands import evaluate
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import EvaluateConfig
from models_core.modeling import loading
from models_core.training import corpus
from tests.models_core.tiny import make_tiny_model

CPU = torch.device("cpu")
TEXTS = ["A first document, long enough to be one on its own. " * 5, "第二个文档。" * 12]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(TEXTS), encoding="utf-8")
    return path


def run(model, path, out, *, stop=None, **settings):
    settings = EvaluateConfig(**{"precision": "fp32", **settings})
    return evaluate.run(settings, model=str(model), data=path, out=out, device=CPU, stop=stop or StopSignal())


def slow_nats(model, ids, *, window):
    """-log p of a document by plain transformers: windows of `window` tokens, each repeating half of the one before."""
    network = loading.load_policy(model, device=CPU, dtype=torch.float32)
    nats, done = [], 1
    while done < len(ids):
        start = max(0, done - window // 2) if done > 1 else 0
        piece = torch.tensor([ids[start : start + window]])
        with torch.no_grad():
            log_probs = network(piece).logits[0].log_softmax(-1)
        nats += [-log_probs[at - 1, piece[0, at]].item() for at in range(done - start, piece.shape[1])]
        done = start + piece.shape[1]
    return nats


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("window", [64, 512])
def test_text_is_measured_as_plain_transformers_would(model, file, tmp_path, window, ends):
    report = run(model, file, tmp_path / "report.json", max_length=window, ends=ends)
    tokenizer = loading.load_tokenizer(model)
    documents = corpus.read(file)
    assert documents == TEXTS
    nats = []
    for document in documents:
        ids = tokenizer(document, add_special_tokens=False)["input_ids"]
        nats += slow_nats(
            model, [tokenizer.bos_token_id, *ids, *([tokenizer.eos_token_id] if ends else [])], window=window
        )
    assert report["tokens"] == len(nats)
    assert report["bytes"] == sum(len(document.encode()) for document in documents)
    assert report["loss"] == pytest.approx(sum(nats) / len(nats), abs=1e-5)
    assert report["perplexity"] == pytest.approx(math.exp(report["loss"]))
    assert report["bits_per_byte"] == pytest.approx(sum(nats) / math.log(2) / report["bytes"], abs=1e-5)


def test_rows_of_json_with_text_are_text(model, file, tmp_path):
    rows = tmp_path / "corpus.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    from_rows, from_text = (run(model, path, tmp_path / "report.json") for path in (rows, file))
    timings = ("seconds", "tokens_per_s")
    assert {k: v for k, v in from_rows.items() if k not in timings} == {
        k: v for k, v in from_text.items() if k not in timings
    }


def test_the_report_lies_beside_its_tables(model, file, tmp_path):
    report = run(model, file, tmp_path / "deep" / "report.json")
    assert json.loads((tmp_path / "deep" / "report.json").read_text()) == report
    table = (tmp_path / "deep" / "report.md").read_text(encoding="utf-8")
    assert f"| perplexity    | {report['perplexity']:.4f}" in table
    assert table.startswith(f"# {model} on corpus.txt\n")


def test_a_report_that_its_own_tables_would_overwrite_is_refused(model, file, tmp_path):
    with pytest.raises(BadInput, match="would be overwritten by its own tables"):
        run(model, file, tmp_path / "report.md")


def test_a_stop_leaves_no_report(model, file, tmp_path):
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Stopped):
        run(model, file, tmp_path / "report.json", stop=stop)
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", "", "a.txt: there is no text in it."),
        ("a.jsonl", "", "a.jsonl: the file has no rows."),
        ("a.jsonl", '{"text": 1}\n', 'a.jsonl, line 1: "text" must be a string.'),
        ("a.jsonl", '{"other": 1}\n', 'a.jsonl, line 1: "response" is missing.'),
    ],
)
def test_what_cannot_be_measured_is_said(model, tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BadInput, match=sentence):
        run(model, path, tmp_path / "report.json")
    assert not (tmp_path / "report.json").exists()
