"""`python -m benchmarks pretraining --data corpus.txt`: has a pretrained model learned more than a table could count?

Pretrains a model as its user does, or takes a finished run, and measures it beside a unigram model and an interpolated
modified Kneser-Ney 5-gram. All three learn from the same documents, in the same tokens, and are measured on the same
held-out ones, every token and every end of a document once: perplexity per token, bits per byte.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.ngrams import KneserNey, Unigram

ORDER = 5


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pretraining", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="FILE", help="a corpus: pretrain on it")
    source.add_argument("--run", type=Path, metavar="RUN", help="a finished run of pretrain")
    parser.add_argument("--out", type=Path, metavar="RUN", help="where the new run goes; else it is not kept")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the new run")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        run = given.run or given.out or Path(folder) / "run"
        if given.run is None:
            line = [sys.executable, "-m", "models_core", "pretrain", "--data", str(given.data), "--out", str(run)]
            done = subprocess.run([*line, *(f"--set={value}" for value in given.set)], stdout=sys.stderr, check=False)
            if done.returncode != 0:
                return done.returncode
        figures = compare(run)
    print(f"{'model':<36}{'perplexity':>12}{'bits/byte':>12}{'seconds':>10}")
    for name, row in figures.items():
        print(f"{name:<36}{row['perplexity']:>12.2f}{row['bits_per_byte']:>12.4f}{row['seconds']:>10.1f}")
    print(json.dumps(figures))
    return 0


def compare(run: Path) -> dict[str, dict[str, float]]:
    """Perplexity, bits per byte and seconds of learning of each model, on what the run held out."""
    # torch is loaded here, not above: the other benchmarks' start is not to wait for it.
    from models_core.contract.settings import PretrainConfig, parse, renamed
    from models_core.modeling import tokenization
    from models_core.recipes import pretrain
    from models_core.training import corpus

    document = json.loads((run / "run.json").read_text(encoding="utf-8"))
    files = {name: run / "data" / entry["file"] for name, entry in document["data"].items()}
    settings = parse(PretrainConfig, renamed.current(document["config"]))
    learned, held_out = pretrain.read(settings, data=files["corpus"], evaluation=files.get("evaluation"))
    tokenizer = tokenization.load(run / "tokenizer")
    texts, measured = corpus.encode(learned, tokenizer), corpus.encode(held_out, tokenizer)
    metrics = json.loads((run / "result.json").read_text(encoding="utf-8"))["metrics"]
    ours = {name: metrics[name] for name in ("perplexity", "bits_per_byte", "seconds")}
    figures = {f"pretrained, {metrics['parameters'] / 1e6:.1f}M parameters": ours}
    kinds: dict[str, Any] = {
        "unigram": lambda: Unigram(texts, vocabulary=len(tokenizer)),
        f"Kneser-Ney {ORDER}-gram": lambda: KneserNey(texts, vocabulary=len(tokenizer), order=ORDER),
    }
    tokens, size = sum(map(len, measured)), corpus.size(held_out)
    for name, learn in kinds.items():
        began = time.perf_counter()
        model = learn()
        seconds = time.perf_counter() - began
        loss = sum(map(model.nats, measured)) / tokens
        measures = corpus.bits_per_byte(loss, tokens=tokens, size=size)
        figures[name] = {
            "perplexity": measures["perplexity"],
            "bits_per_byte": measures["bits_per_byte"],
            "seconds": seconds,
        }
    return figures
