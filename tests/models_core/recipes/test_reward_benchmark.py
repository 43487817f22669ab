"""`python -m benchmarks reward` on a tiny model, with a stand-in for the peer."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import reward
from models_core.contract.settings import RewardConfig
from models_core.modeling.forward import encode_group
from models_core.modeling.packing import Group, pack
from tests.models_core.tiny import make_tiny_model

PEER = 'import json, sys\nprint(json.dumps({"seconds": 8.0, "eval_accuracy": 0.5, "given": sys.argv[1:]}))\n'


@pytest.fixture
def rankings(tmp_path: Path) -> Path:
    rows = [
        {
            "id": str(number),
            "prompt": [{"role": "user", "content": f"Question {number}?"}],
            "responses": [{"text": f"Answer {number} {'o' * rank}", "rank": rank} for rank in range(1, 3 + number % 2)],
        }
        for number in range(6)
    ]
    path = tmp_path / "rankings.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_size_takes_the_first_rows_that_have_so_many_responses(rankings: Path) -> None:
    taken = reward.Size.parse("3x2").take(reward.read(rankings))
    assert [row["id"] for row in taken] == ["1", "3"]
    assert [[one["rank"] for one in row["responses"]] for row in taken] == [[1, 2, 3]] * 2
    assert {len(row["responses"]) for row in reward.Size(2, 6).take(reward.read(rankings))} == {2}
    with pytest.raises(SystemExit, match="only 3 rankings of 3 responses"):
        reward.Size(3, 4).take(reward.read(rankings))


def test_both_are_trained_on_the_same_rows_and_compared(
    rankings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_tiny_model(tmp_path / "model")
    script = tmp_path / "peer.py"
    script.write_text(PEER, encoding="utf-8")
    given = ["--data", str(rankings), "--held-out", str(rankings), "--model", str(model), "--sizes", "2x4"]
    assert reward.main(["--peer", sys.executable, "--script", str(script), *given]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["k2_peer_rankings_per_s"] == 0.5
    assert figures["k2_peer_accuracy"] == 0.5
    assert 0 <= figures["k2_hone_accuracy"] <= 1
    assert figures["k2_ratio"] == pytest.approx(figures["k2_hone_rankings_per_s"] / 0.5, abs=0.06)
    assert figures["k2_hone_gb"] > 0
    assert 0 <= figures["k2_matmul_share"] < 1


def test_the_peer_gets_every_ordered_pair_of_a_ranking() -> None:
    ranks = {"best": 1, "good": 2, "as good": 2, "unread": None}
    row = {"prompt": [{"role": "user", "content": "Why?"}]}
    responses = [{"text": text, "rank": rank} for text, rank in reversed(ranks.items())]
    found = reward.pairs([row | {"responses": responses}])
    assert [(pair["chosen"], pair["rejected"]) for pair in found] == [("best", "as good"), ("best", "good")]
    assert found[0]["prompt"] == row["prompt"]


def test_tokens_are_those_that_a_step_computes(rankings: Path, tmp_path: Path) -> None:
    from models_core.modeling.loading import load_tokenizer

    model = str(make_tiny_model(tmp_path / "model"))
    rows = reward.Size(2, 3).take(reward.read(rankings))
    tokenizer = load_tokenizer(model)
    groups: list[Group] = [
        encode_group(tokenizer, row["prompt"], [one["text"] for one in row["responses"]], max_length=128).group
        for row in rows
    ]
    packed = pack(groups)
    assert packed.shared > 0
    assert reward.computed_tokens(rows, model=model, settings=RewardConfig(max_length=128)) == packed.ids.shape[1]


def test_the_weights_of_linear_layers_are_counted(tmp_path: Path) -> None:
    """Two layers of width 16 with 4 heads, 2 of them for keys: 2 x (16 x (16 + 8 + 8 + 16) + 3 x 16 x 32)."""
    assert reward.linear_weights(str(make_tiny_model(tmp_path / "model"))) == 2 * (16 * 48 + 3 * 16 * 32)
