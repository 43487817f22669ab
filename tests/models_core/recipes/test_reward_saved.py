"""What a run of `reward` leaves behind scores as the network did that it trained: for Hone under every method, and for
plain transformers under those that end in ordinary weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from models_core.commands import score
from models_core.contract.rows import row_parser
from models_core.contract.rows.records import Message
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import METHODS, ScoreConfig, parse
from models_core.modeling import forward, loading
from tests.models_core import recipe_runs
from tests.models_core.modeling.test_methods_recipes import RATES
from tests.models_core.modeling.test_methods_saved import BESIDE
from tests.models_core.recipe_runs import CPU
from tests.models_core.tiny import make_tiny_model, make_tiny_tokenizer
from tests.models_core.tuned import SMALL

CHATS: list[tuple[tuple[Message, ...], list[str]]] = [
    ((Message(role="user", content="say 3"),), ["a", "mmmm", "zz"]),
    (
        (Message(role="system", content="Be brief."), Message(role="user", content="say something longer")),
        ["", "an answer of its own"],
    ),
]
ENCODED = [forward.encode_group(make_tiny_tokenizer(), turns, texts, max_length=512).group for turns, texts in CHATS]


def logits_of(network: Any) -> list[list[float]]:
    return forward.group_logits(network, ENCODED, budget=4096, device="cpu")


def trained(folder: Path, base: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Train a reward model into folder/run; what its network says of CHATS at the moment it is saved."""
    said: list[list[list[float]]] = []
    save = loading.save_reward_model

    def listening(path: Path, network: Any, *given: Any, **named: Any) -> None:
        said.append(logits_of(network))
        save(path, network, *given, **named)

    monkeypatch.setattr(loading, "save_reward_model", listening)
    values = SMALL | {"method": method, "epochs": 2, "learning_rate": RATES.get(method, 0.02)}
    recipe_runs.run("reward", folder / "run", values, model=str(base), data=recipe_runs.rankings(folder))
    (logits,) = said
    return logits


def read_by_transformers(folder: Path) -> list[list[float]]:
    """Logits of the same chats from one padded batch of AutoModelForSequenceClassification."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [[*group.prompt, *response] for group in ENCODED for response in group.responses]
    with torch.no_grad():
        batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        flat = AutoModelForSequenceClassification.from_pretrained(folder)(**batch).logits.squeeze(-1)
    return [part.tolist() for part in flat.split([len(group.responses) for group in ENCODED])]


def check(found: list[list[float]], expected: list[list[float]]) -> None:
    for own, other in zip(found, expected, strict=True):
        assert own == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_under_every_method_is_read_back_with_the_scores_it_was_saved_with(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_tiny_model(tmp_path / "base")
    saved = trained(tmp_path, base, method, monkeypatch)
    assert len({round(logit, 6) for row in saved for logit in row}) == 5
    network = loading.load_reward_model(tmp_path / "run", device=CPU, dtype=torch.float32)
    assert logits_of(network) == saved

    shift, scale = loading.reward_scale(network)
    rows = [
        {"id": str(n), "prompt": list(turns), "responses": [{"text": text} for text in texts]}
        for n, (turns, texts) in enumerate(CHATS)
    ]
    score.run(
        parse(ScoreConfig, {"precision": "fp32"}),
        model=str(tmp_path / "run"),
        data=recipe_runs.write(tmp_path / "responses.jsonl", rows),
        out=tmp_path / "scores.jsonl",
        device=CPU,
        stop=StopSignal(),
    )
    scored = [json.loads(line)["scores"] for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    check(scored, [[(logit - shift) / scale for logit in row] for row in saved])

    if method not in BESIDE:
        check(read_by_transformers(tmp_path / "run" / "model"), saved)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", ["gpt2", "qwen", "neox"])
def test_other_families_are_read_by_plain_transformers_too(
    kind: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = trained(tmp_path, make_tiny_model(tmp_path / "base", kind=kind), method, monkeypatch)
    check(read_by_transformers(tmp_path / "run" / "model"), saved)


def test_responses_too_long_to_be_scored_are_counted_and_others_stand_in_for_them(tmp_path: Path) -> None:
    row = {"prompt": recipe_runs.chat("hi"), "response": "x" * 600}
    result = recipe_runs.run(
        "reward",
        tmp_path / "run",
        {"epochs": 1, "held_out": 0},
        model=str(make_tiny_model(tmp_path / "base")),
        data=recipe_runs.rankings(tmp_path),
        demonstrations=recipe_runs.write(tmp_path / "demonstrations.jsonl", [{"id": "d", **row}]),
        samples=recipe_runs.write(
            tmp_path / "samples.jsonl", [{"id": "s", **row}, {"id": "t", **row, "response": "y"}]
        ),
    )
    assert result["left_out"] == {"too_long_for_scale": {"count": 2, "rows": ["d", "s"]}}
    assert result["calibrated_on"] == {"shift": "training responses", "scale": "samples"}
    assert result["reward_scale"] == 1.0


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of responses are checked, learned from and scored: three uses of what one reading found."""
    read: list[str] = []
    rows = row_parser.rows

    def counting(path: Any, **named: Any) -> Any:
        read.append(Path(path).name)
        return rows(path, **named)

    monkeypatch.setattr(row_parser, "rows", counting)
    responses = [
        {"id": str(n), "prompt": recipe_runs.chat(f"say {n}"), "responses": [{"text": "m"}, {"text": "zz"}]}
        for n in range(8)
    ]
    result = recipe_runs.run(
        "reward",
        tmp_path / "run",
        {"epochs": 1, "demonstration_pairs": 0.5, "held_out": 0},
        model=str(make_tiny_model(tmp_path / "base")),
        data=recipe_runs.rankings(tmp_path),
        demonstrations=recipe_runs.demonstrations(tmp_path),
        samples=recipe_runs.write(tmp_path / "samples.jsonl", responses),
    )
    assert sorted(read) == ["demonstrations.jsonl", "rankings.jsonl", "samples.jsonl"]
    assert result["demonstration_rankings"] == 8
    assert result["calibrated_on"] == {"shift": "demonstrations", "scale": "samples"}
