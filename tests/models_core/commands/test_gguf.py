"""GGUF files of policies: read back by transformers' own reader, and by llama.cpp where its package is installed."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from models_core.commands.registry import gguf_comparison, gguf_file, gguf_tokenizer
from models_core.contract.errors import BadInput
from models_core.contract.runs.stopping import StopSignal
from models_core.modeling import loading
from tests.models_core.tiny import make_tiny_model
from tests.models_core.tuned import prepared

TEXT = "Name a cab colour: blau, 蓝色, 17."


def exported(model: Path, out: Path, kind: str = "f16") -> dict[str, Any]:
    return gguf_file.run(model=str(model), kind=kind, out=out, name="Tiny", stop=StopSignal())


def make_model(folder: Path, *, kind: str = "llama") -> Path:
    """A tiny model whose tokenizer merges "a" and "b": llama.cpp loads none without merges."""
    make_tiny_model(folder, kind=kind)
    document = json.loads((folder / "tokenizer.json").read_text())
    document["model"]["vocab"]["ab"] = 259
    document["model"]["merges"] = [["a", "b"]]
    network = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(0)
    network.resize_token_embeddings(260, mean_resizing=False)
    network.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(document))
    return folder


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields and tensors of a file."""
    reader = gguf.GGUFReader(path)
    return {name: field.contents() for name, field in reader.fields.items()}, {
        tensor.name: tensor for tensor in reader.tensors
    }


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_plain_transformers_reads_the_same_model_from_the_file(tmp_path: Path, kind: str) -> None:
    source = make_model(tmp_path / "source", kind=kind)
    exported(source, tmp_path / "tiny.gguf")
    again = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file="tiny.gguf", dtype=torch.float32).eval()
    ours: Any = loading.load_policy(source, device="cpu", dtype=torch.float32)
    ids = loading.load_tokenizer(source)(TEXT)["input_ids"]
    assert len(ids) > 20
    # Weights were rounded to f16, which alone moves these logits by about a thousandth.
    assert torch.allclose(
        gguf_comparison.log_distributions(ours, ids), gguf_comparison.log_distributions(again, ids), atol=5e-3
    )


def test_vocabulary_ends_and_template_are_in_the_file(tmp_path: Path) -> None:
    source = make_model(tmp_path / "source")
    found = exported(source, tmp_path / "tiny.gguf")
    fields, tensors = read(tmp_path / "tiny.gguf")
    assert fields["general.architecture"] == "llama"
    assert (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert fields["tokenizer.ggml.tokens"][:4] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "!"]
    assert fields["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    assert (fields["tokenizer.ggml.eos_token_id"], fields["tokenizer.ggml.bos_token_id"]) == (2, 1)
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert "<|im_start|>assistant" in fields["tokenizer.chat_template"]
    assert (fields["llama.block_count"], fields["llama.attention.head_count_kv"]) == (2, 2)
    assert "output.weight" not in tensors  # tied to the embeddings
    assert tensors["blk.0.attn_norm.weight"].tensor_type == gguf.GGMLQuantizationType.F32
    assert tensors["blk.0.attn_q.weight"].tensor_type == gguf.GGMLQuantizationType.F16
    assert found["bytes"] == (tmp_path / "tiny.gguf").stat().st_size
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_q8_0_rounds_blocks_of_32_and_leaves_shorter_rows_in_f16(tmp_path: Path) -> None:
    source = make_model(tmp_path / "source")
    exported(source, tmp_path / "tiny.gguf", "q8_0")
    _fields, tensors = read(tmp_path / "tiny.gguf")
    stored = tensors["blk.1.ffn_down.weight"]  # rows of 32
    assert stored.tensor_type == gguf.GGMLQuantizationType.Q8_0
    assert tensors["blk.1.ffn_up.weight"].tensor_type == gguf.GGMLQuantizationType.F16  # rows of 16
    weights = loading.load_policy(source, device="cpu", dtype=torch.float32).state_dict()
    wanted = weights["model.layers.1.mlp.down_proj.weight"].numpy()
    values = gguf.quants.dequantize(stored.data, stored.tensor_type)
    largest = np.abs(wanted).max(axis=1, keepdims=True)
    assert (np.abs(values - wanted) <= largest / 127 * 0.51 + 1e-3 * largest).all()


def test_rows_of_queries_and_keys_change_places_in_pairs() -> None:
    rows = torch.arange(12.0).unsqueeze(-1)  # two heads of six rows
    moved = gguf_file._interleaved(rows, heads=2).squeeze(-1).tolist()
    assert moved == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_llama_cpp_would_compute_otherwise_is_refused_by_name(tmp_path: Path) -> None:
    neox = make_tiny_model(tmp_path / "neox", kind="neox")
    with pytest.raises(BadInput, match="neox is a gpt_neox; GGUF files are written of llama, mistral, qwen2, qwen3"):
        exported(neox, tmp_path / "out.gguf")
    source = make_model(tmp_path / "source")
    for values, said in (
        ({"hidden_act": "gelu"}, "its llama has hidden_act=gelu"),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "its llama has rope_type=linear",
        ),
    ):
        changed = make_model(tmp_path / said.rpartition("=")[2])
        change(changed / "config.json", **values)
        with pytest.raises(BadInput, match=said):
            exported(changed, tmp_path / "out.gguf")
    adapted = tmp_path / "adapted"
    loading.save_policy(adapted, prepared(source, "prompt"), loading.load_tokenizer(source))
    with pytest.raises(BadInput, match="was fine-tuned with an adapter that lies beside its weights"):
        exported(adapted, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def split_by(pattern: str) -> dict[str, Any]:
    parts = [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}]
    return {"type": "Sequence", "pretokenizers": [*parts, BYTE_LEVEL | {"use_regex": False}]}


@pytest.mark.parametrize(
    ("before", "model", "expected"),
    [
        (BYTE_LEVEL, {}, "gpt-2"),
        ({"type": "Sequence", "pretokenizers": [DIGITS, BYTE_LEVEL]}, {}, "smollm"),
        (split_by(LLAMA_3), {"ignore_merges": True}, "llama-bpe"),
        (split_by(LLAMA_3.replace("{1,3}", "")), {}, "qwen2"),
        (split_by(LLAMA_3), {}, "splits text as llama-bpe does, with ignore_merges the other way round"),
        (split_by("x"), {}, "splits text in a way that llama.cpp has no name for"),
        ({"type": "Whitespace"}, {}, "splits text by Whitespace"),
        (None, {}, "splits text by nothing"),
        (BYTE_LEVEL | {"add_prefix_space": True}, {}, "splits text by ByteLevel"),
        (BYTE_LEVEL, {"byte_fallback": True}, "is a BPE tokenizer with byte_fallback"),
        (BYTE_LEVEL, {"type": "WordPiece"}, "is a WordPiece tokenizer"),
        (BYTE_LEVEL, {"merges": []}, "has no merges, and llama.cpp loads none without"),
    ],
)
def test_a_tokenizer_is_known_by_how_it_splits_text(
    tmp_path: Path, before: Any, model: dict[str, Any], expected: str
) -> None:
    document = {
        "pre_tokenizer": before,
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 3}, "merges": [["a", "b"]], **model},
        "added_tokens": [{"id": 2, "content": "<end>", "special": True}],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    if " " in expected:
        with pytest.raises(BadInput, match=expected):
            gguf_tokenizer.read(tmp_path, size=6, name="M")
        return
    found = gguf_tokenizer.read(tmp_path, size=6, name="M")
    assert found.split == expected
    assert found.tokens == ["a", "b", "<end>", "ab", "[UNUSED4]", "[UNUSED5]"]
    assert (found.kinds, found.merges) == ([1, 1, 3, 1, 5, 5], ["a b"])


@pytest.mark.parametrize("family", ["llama", "qwen"])
@pytest.mark.parametrize(("kind", "most"), [("f16", 1e-4), ("q8_0", 1e-2)])
def test_llama_cpp_answers_as_the_model_does(tmp_path: Path, family: str, kind: str, most: float) -> None:
    pytest.importorskip("llama_cpp", reason="llama.cpp's Python package (llama-cpp-python) is not installed")
    found = exported(make_model(tmp_path / "source", kind=family), tmp_path / "tiny.gguf", kind)
    assert found["gguf_kl"] < most
    assert found["gguf_positions"] > 300
    assert found["gguf_top1"] > 0.95
