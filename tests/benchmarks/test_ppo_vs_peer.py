"""`python -m benchmarks ppo_vs_peer` on a tiny model, with a stand-in for the peer."""

import json
import sys

import pytest

from benchmarks import ppo_vs_peer
from tests.models_core.recipe_runs import chat, rankings, run, write

PEER = """import json, shutil, sys
shutil.copytree(sys.argv[1], sys.argv[4])
print(json.dumps({"seconds": 16.0 if "--checkpointing" in sys.argv else 8.0}))
"""


def test_both_learn_from_the_same_prompts_and_are_measured_alike(tiny, prompts, tmp_path, capsys):
    run("reward", tmp_path / "reward", {"epochs": 1}, model=str(tiny), data=rankings(tmp_path))
    script = tmp_path / "peer.py"
    script.write_text(PEER, encoding="utf-8")
    given = ["--peer", sys.executable, "--script", str(script), "--data", str(prompts), "--model", str(tiny)]
    given += ["--reward", str(tmp_path / "reward" / "model"), "--episodes", "8", "--batch", "4", "--new-tokens", "4"]
    assert ppo_vs_peer.main([*given, "--held-out", "4", "--set", "learning_rate=1e-2"]) == 0
    out = capsys.readouterr().out.splitlines()
    figures = json.loads(out[-1])
    assert figures["peer"]["episodes_per_s"] == 1.0
    assert figures["peer-lean"]["episodes_per_s"] == 0.5
    assert figures["ratio"] == pytest.approx(figures["hone"]["episodes_per_s"], abs=0.01)
    leanest = min(figures["peer"]["peak_gb"], figures["peer-lean"]["peak_gb"])
    assert figures["memory_ratio"] == pytest.approx(figures["hone"]["peak_gb"] / leanest, rel=0.1)
    # The peer here has learned nothing: it responds as the model it began with.
    assert figures["peer"]["kl"] == 0.0
    assert figures["hone"]["kl"] != 0.0
    peer, hone = (line.split(" | ") for line in out if line.startswith(("| peer |", "| hone |")))
    assert peer[3] == peer[4] == hone[3]


def test_prompts_are_english_single_turns_each_once(tmp_path):
    rows = [
        {"id": "a", "prompt": chat("one")},
        {"id": "b", "prompt": chat("one"), "lang": "en"},
        {"id": "c", "prompt": chat("二"), "lang": "zh"},
        {"id": "d", "prompt": chat("o" * 200)},
        {"id": "e", "prompt": [*chat("two"), {"role": "assistant", "content": "2"}, *chat("three")]},
        {"id": "f", "prompt": chat("four")},
    ]
    chosen = ppo_vs_peer.chosen(write(tmp_path / "mixed.jsonl", rows))
    assert [row["prompt"][0]["content"] for row in chosen] == ["one", "four"]


def test_speed_is_compared_with_the_fastest_and_memory_with_the_leanest():
    figures = {
        "peer": {"episodes_per_s": 1.0, "peak_gb": 12.0},
        "peer-lean": {"episodes_per_s": 0.8, "peak_gb": 8.0},
        "hone": {"episodes_per_s": 5.0, "peak_gb": 3.0},
    }
    assert ppo_vs_peer.ratios(figures) == {"ratio": 5.0, "memory_ratio": 0.375}
    assert ppo_vs_peer.ratios({"hone": figures["hone"]}) == {}


@pytest.mark.parametrize(
    ("more", "said"), [(["--episodes", "5", "--batch", "4"], "must be a multiple of --batch"), ([], "has 40 fitting")]
)
def test_wrong_arguments_are_said_before_anything_is_computed(tiny, prompts, tmp_path, capsys, more, said):
    given = ["--peer", "none", "--data", str(prompts), "--reward", "none", "--model", str(tiny), *more]
    with pytest.raises(SystemExit) as ended:
        ppo_vs_peer.main(given)
    assert said in f"{ended.value}{capsys.readouterr().err}"
