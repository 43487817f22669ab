"""Pretraining: what is learned, what is never seen, how it resumes, and what comes out of it."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import PretrainConfig, SFTConfig, parse
from models_core.modeling import architecture, loading, tokenization
from models_core.recipes import pretrain, sft
from models_core.training import corpus
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import CPU, metrics, weights
from tests.models_core.tiny import make_tiny_model, make_tiny_tokenizer

SMALL = {
    "precision": "fp32", "vocab_size": "300", "layers": "2", "width": "16", "heads": "2", "max_length": "32",
    "batch_size": "8", "epochs": "2", "eval_every": "3", "sample_tokens": "8", "held_out": "0.2",
}  # fmt: skip


def sentence(number: int) -> str:
    return f"the {['cat', 'dog', 'bird', 'fish'][number % 4]} number {number} sat on the mat and looked. " * 3


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n\n".join(sentence(number) + "x" * 80 for number in range(40)), encoding="utf-8")
    return path


def run(folder: Path, values=None, *, stop=None, **given):
    settings = parse(PretrainConfig, SMALL | (values or {}))
    return pretrain.train(settings, out=folder, device=CPU, stop=stop or StopSignal(), **given)


@pytest.fixture(scope="module")
def done(text, tmp_path_factory):
    """The folder of one run with the small settings, for all that look at what it left behind."""
    folder = tmp_path_factory.mktemp("done")
    run(folder / "run", data=text)
    return folder / "run"


@pytest.mark.parametrize("architecture_name", ["llama", "gpt2"])
def test_it_learns_and_says_so_in_perplexity_and_bits_per_byte(text, tmp_path, architecture_name):
    result = run(tmp_path / "run", {"architecture": architecture_name, "epochs": "12"}, data=text)
    first, *_, last = [row for row in metrics(tmp_path / "run") if "eval_loss" in row]
    assert last["eval_loss"] < first["eval_loss"] - 0.5
    assert result["perplexity"] == pytest.approx(math.exp(result["eval_loss"]))
    documents, held_out = pretrain.read(parse(PretrainConfig, SMALL), data=text, evaluation=None)
    assert (result["documents"], result["held_out_documents"]) == (len(documents), len(held_out))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    held_out_tokens = sum(map(len, corpus.encode(held_out, tokenizer)))
    bits = result["eval_loss"] * held_out_tokens / math.log(2)
    assert result["bits_per_byte"] == pytest.approx(bits / sum(len(document.encode()) for document in held_out))


def test_the_saved_model_measures_what_the_run_said(text, done):
    """A second computation: plain transformers, one window at a time."""
    result = json.loads((done / "result.json").read_text(encoding="utf-8"))["metrics"]
    model = AutoModelForCausalLM.from_pretrained(done / "model")
    tokenizer = AutoTokenizer.from_pretrained(done / "model")
    _, held_out = pretrain.read(parse(PretrainConfig, SMALL), data=text, evaluation=None)
    nats, count = 0.0, 0
    for document in held_out:
        ids = [0, *tokenizer(document, add_special_tokens=False)["input_ids"], 0]
        done = 1
        while done < len(ids):
            start = max(0, done - 16) if done > 1 else 0
            window = torch.tensor([ids[start : start + 32]])
            with torch.no_grad():
                log_probs = model(window).logits[0].log_softmax(-1)
            for place in range(done - start, window.shape[1]):
                nats -= log_probs[place - 1, window[0, place]].item()
                count += 1
            done = start + window.shape[1]
    assert result["eval_loss"] == pytest.approx(nats / count, abs=1e-5)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_same_bits(text, tmp_path, optimizer):
    values = {"optimizer": optimizer, "dropout": "0.2", "max_tokens_per_forward": "64", "save_every": "2"}
    run(tmp_path / "whole", values, data=text)
    whole = weights(tmp_path / "whole")
    for looks in (3, 8, 15):
        folder = tmp_path / str(looks)
        with pytest.raises(Stopped):
            run(folder, values, data=text, stop=recipe_runs.StopAfter(looks))
        run(folder, values, data=text, resume=True)
        halves = weights(folder)
        assert whole.keys() == halves.keys()
        assert all(torch.equal(whole[name], halves[name]) for name in whole), looks
        assert metrics(tmp_path / "whole") == metrics(folder)
        samples = [(path / "samples.jsonl").read_text(encoding="utf-8") for path in (tmp_path / "whole", folder)]
        assert samples[0] == samples[1] != ""
        results = [
            json.loads((path / "result.json").read_text(encoding="utf-8")) for path in (tmp_path / "whole", folder)
        ]
        assert results[0]["sha256"] == results[1]["sha256"], looks
        tokenizer = json.loads((folder / "model" / "tokenizer_config.json").read_text(encoding="utf-8"))
        assert not {"local_files_only", "is_local"} & tokenizer.keys()


def test_held_out_text_teaches_neither_tokenizer_nor_model(text, tmp_path):
    """Whatever held-out documents say, tokenizer and weights come out the same."""
    documents, held_out = pretrain.read(parse(PretrainConfig, SMALL), data=text, evaluation=None)
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(documents), encoding="utf-8")
    measured = tmp_path / "measured.txt"
    measured.write_text("zebra " * 60 + "\n\n" + held_out[0], encoding="utf-8")
    values = {"load_best_at_end": "false"}
    run(tmp_path / "a", values, data=text)
    run(tmp_path / "b", values | {"held_out": "0"}, data=other)
    run(tmp_path / "c", values, data=other, evaluation=measured)
    for name in ("b", "c"):
        same, own = weights(tmp_path / "a"), weights(tmp_path / name)
        assert all(torch.equal(same[key], own[key]) for key in same)
        tokenizers = [(tmp_path / run_ / "model" / "tokenizer.json").read_text() for run_ in ("a", name)]
        assert tokenizers[0] == tokenizers[1]
    assert "eval_loss" not in json.loads((tmp_path / "b" / "result.json").read_text())["metrics"]


def test_what_is_measured_is_not_learned_even_where_the_corpus_holds_it(text, tmp_path):
    measured = tmp_path / "measured.txt"
    everything = corpus.read(text)
    measured.write_text("\n\n".join(everything[:30]), encoding="utf-8")
    result = run(tmp_path / "run", data=text, evaluation=measured)
    assert (result["documents"], result["held_out_documents"]) == (len(everything) - 30, 30)


def test_dropout_works_while_training_alone_and_is_not_saved(text, tmp_path):
    settings = parse(PretrainConfig, SMALL | {"dropout": "0.5"})
    tokenizer = tokenization.train([sentence(1)], kind="bpe", vocab_size=300, max_length=32)
    for kind in ("llama", "gpt2"):
        shaped = parse(PretrainConfig, SMALL | {"architecture": kind})
        model = architecture.build(shaped, tokenizer, dtype=torch.float32, device=CPU)
        ids = torch.tensor([[5, 6, 7, 8]])
        before = model(ids).logits
        architecture.add_dropout(model, settings.dropout)
        assert torch.equal(model.eval()(ids).logits, before)
        model.train()
        assert not torch.allclose(model(ids).logits, model(ids).logits)
    with pytest.raises(BadInput, match="Dropout finds no layer"):
        architecture.add_dropout(_without_places(), 0.1)


def test_a_run_drops_while_it_learns(text, tmp_path):
    """The first step's loss is that of the same weights and rows, with and without."""
    for dropout in ("0", "0.5"):
        run(tmp_path / dropout, {"dropout": dropout, "epochs": "1", "sample_tokens": "0"}, data=text)
    without, dropped = (metrics(tmp_path / dropout)[0]["loss"] for dropout in ("0", "0.5"))
    assert abs(without - dropped) > 1e-3


def _without_places():
    model = architecture.build(parse(PretrainConfig, SMALL), make_tiny_tokenizer(), dtype=torch.float32, device=CPU)
    model.model.layers = torch.nn.ModuleList()
    return model


def test_the_result_does_not_depend_on_micro_batches(text, tmp_path):
    for budget in ("48", "4096"):
        run(tmp_path / budget, {"max_tokens_per_forward": budget, "dropout": "0", "optimizer": "adamw"}, data=text)
    one, other = weights(tmp_path / "48"), weights(tmp_path / "4096")
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_samples_go_on_from_the_same_beginnings(text, done):
    rows = [json.loads(line) for line in (done / "samples.jsonl").read_text().splitlines()]
    by_step: dict[int, list[str]] = {}
    for row in rows:
        by_step.setdefault(row["step"], []).append(row["prompt"])
    assert len(by_step) >= 2
    assert len({tuple(prompts) for prompts in by_step.values()}) == 1
    _, held_out = pretrain.read(parse(PretrainConfig, SMALL), data=text, evaluation=None)
    assert all(held_out[place].startswith(prompt) for place, prompt in enumerate(next(iter(by_step.values()))))


def test_a_base_model_is_continued_with_its_own_tokenizer(text, tmp_path):
    base = make_tiny_model(tmp_path / "base")
    result = run(tmp_path / "run", {"learning_rate": "0.003", "epochs": "3"}, data=text, model=str(base))
    losses = [row["eval_loss"] for row in metrics(tmp_path / "run") if "eval_loss" in row]
    assert losses[-1] < losses[0]
    assert (tmp_path / "run" / "model" / "tokenizer.json").read_text() == (base / "tokenizer.json").read_text()
    assert result["vocab_size"] == 259


def test_a_base_model_learns_by_lora_too(text, tmp_path):
    base = make_tiny_model(tmp_path / "base")
    run(tmp_path / "run", {"method": "lora", "learning_rate": "0.003"}, data=text, model=str(base))
    assert weights(tmp_path / "run").keys() == loading.load_policy(
        base, device=CPU, dtype=torch.float32
    ).state_dict().keys() - {"lm_head.weight"}


def test_what_was_pretrained_goes_straight_into_fine_tuning(text, tmp_path):
    run(tmp_path / "run", {"max_length": "128"}, data=text)
    result = sft.train(
        parse(SFTConfig, {"precision": "fp32", "epochs": "1"}),
        model=str(tmp_path / "run" / "model"),
        data=recipe_runs.demonstrations(tmp_path),
        out=tmp_path / "sft",
        device=CPU,
        stop=StopSignal(),
    )
    assert result["too_long_responses"] == 0


def test_a_tokenizer_of_a_folder_is_used_as_it_is(text, tmp_path):
    make_tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    result = run(tmp_path / "run", data=text, tokenizer=str(tmp_path / "tokenizer"))
    assert result["vocab_size"] == 259


@pytest.mark.parametrize(
    ("values", "given", "sentence_"),
    [
        ({}, {"model": "x", "tokenizer": "y"}, "give --model or --tokenizer, not both"),
        ({"method": "lora"}, {}, "A fresh model has nothing to keep: method=lora needs a base model"),
        ({"width": "30", "heads": "4"}, {}, "A width of 30 cannot be shared by 4 heads"),
        ({}, {"tokenizer": "absent"}, "absent is no folder of a tokenizer"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(text, tmp_path, values, given, sentence_):
    with pytest.raises(BadInput, match=sentence_):
        run(tmp_path / "run", values, data=text, **given)
    assert not (tmp_path / "run").exists()


def test_a_corpus_that_is_all_held_out_is_refused(tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("the only document")
    with pytest.raises(BadInput, match="every document is held out"):
        run(tmp_path / "run", data=path, evaluation=path)


def test_the_seed_alone_decides_the_first_weights():
    several = [parse(PretrainConfig, SMALL | {"seed": seed}) for seed in ("1", "1", "2")]
    tokenizer = make_tiny_tokenizer()
    built = [architecture.build(settings, tokenizer, dtype=torch.float32, device=CPU) for settings in several]
    first, same, other = (model.get_input_embeddings().weight for model in built)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("size", "kind", "millions"), [("1m", "llama", 1.2), ("5m", "llama", 5.5), ("5m", "gpt2", 5.7)]
)
def test_a_size_is_named_for_its_parameters(size, kind, millions):
    settings = parse(PretrainConfig, {"size": size, "architecture": kind})
    tokenizer = make_tiny_tokenizer()
    tokenizer.add_tokens([f"t{number}" for number in range(3072 - len(tokenizer))])
    model = architecture.build(settings, tokenizer, dtype=torch.float32, device=CPU)
    assert sum(weight.numel() for weight in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_muon_gets_the_layers_matrices_alone():
    model = architecture.build(parse(PretrainConfig, SMALL), make_tiny_tokenizer(), dtype=torch.float32, device=CPU)
    names = architecture.hidden_matrices(model)
    assert len(names) == 2 * 7
    assert all(".layers." in name for name in names)


@pytest.mark.parametrize(("width", "heads"), [(256, 4), (352, 8), (320, 5), (16, 1), (18, 1)])
def test_a_width_alone_is_shared_by_a_fitting_number_of_heads(width, heads):
    assert architecture.shape(parse(PretrainConfig, {"width": str(width)})) == (6, width, heads)
