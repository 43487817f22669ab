"""The command that writes responses: rows as they come, going on after a stop, long prompts, beams, best of n."""

import json
from pathlib import Path

import pytest
import torch

from models_core.commands import sample
from models_core.commands.output.completion_file import CompletionFile
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig, parse
from models_core.modeling import loading
from models_core.rl.rewards.reward_models import RewardModels
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def reward(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    network = loading.new_reward_model(
        make_tiny_model(folder / "base", seed=3), device="cpu", dtype=torch.float32, seed=1, head_scale=30.0
    )
    tokenizer = loading.load_tokenizer(folder / "base")
    loading.save_reward_model(folder / "model", network, tokenizer)
    return folder / "model"


def sampled(model, data, out, *, samples=1, reward=None, stop=None, resume=False, **values):
    settings = parse(SampleConfig, {"precision": "fp32", "max_new_tokens": 8, "max_length": 120, **values})
    return sample.run(
        settings,
        model=str(model),
        data=data,
        samples=samples,
        out=out,
        reward=None if reward is None else str(reward),
        device=recipe_runs.CPU,
        stop=stop or StopSignal(),
        resume=resume,
    )


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_keep_the_order_of_the_prompts_and_nothing_else_is_left(model, tmp_path):
    out = tmp_path / "folder" / "responses.jsonl"
    result = sampled(model, recipe_runs.prompts(tmp_path), out, samples=3, batch_size=4)
    rows = rows_of(out)
    assert [row["id"] for row in rows] == [str(number) for number in range(8)]
    assert [len(row["responses"]) for row in rows] == [3] * 8
    assert (result["prompts"], result["responses"], result["truncated"]) == (8, 24, 0)
    assert list(out.parent.iterdir()) == [out]


def test_a_stopped_command_goes_on_and_ends_with_what_an_uninterrupted_one_writes(model, tmp_path):
    data, out, whole = recipe_runs.prompts(tmp_path), tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    with pytest.raises(Stopped, match=r"[1-7] of 8 prompts have responses, --resume"):
        sampled(model, data, out, batch_size=1, stop=recipe_runs.StopAfter(20))
    assert not out.exists()
    kept = rows_of(tmp_path / "out.jsonl.partial")[1:]
    assert 0 < len(kept) < 8
    # What is there already is not sampled again.
    marked = [entry | {"row": entry["row"] | {"kept": True}} for entry in kept]
    lines = (tmp_path / "out.jsonl.partial").read_text().splitlines()[:1] + [json.dumps(entry) for entry in marked]
    (tmp_path / "out.jsonl.partial").write_text("\n".join(lines) + '\n{"number": 5, "ro')
    sampled(model, data, out, resume=True, batch_size=1)
    sampled(model, data, whole, batch_size=1)
    rows = rows_of(out)
    assert sum(row.pop("kept", False) for row in rows) == len(kept)
    assert rows == rows_of(whole)
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_going_on_with_other_settings_is_refused(model, tmp_path):
    data, out = recipe_runs.prompts(tmp_path), tmp_path / "out.jsonl"
    with pytest.raises(Stopped):
        sampled(model, data, out, batch_size=1, stop=recipe_runs.StopAfter(20))
    with pytest.raises(BadInput, match=r"other settings \(temperature is 1.0 there, and 0.5 here\): take"):
        sampled(model, data, out, batch_size=1, resume=True, temperature=0.5)


def test_a_stop_before_the_first_response_leaves_nothing(model, tmp_path):
    data = recipe_runs.prompts(tmp_path)
    with pytest.raises(Stopped, match=r"^Stopped\.$"):
        sampled(model, data, tmp_path / "out.jsonl", stop=recipe_runs.StopAfter(1))
    assert list(tmp_path.iterdir()) == [data]


def test_a_long_prompt_loses_whole_turns_and_is_counted(model, tmp_path):
    turns = [("user", "a" * 60), ("assistant", "b" * 20), ("user", "c" * 20)]
    chat = [{"role": role, "content": text} for role, text in turns]
    data = recipe_runs.write(tmp_path / "long.jsonl", [{"id": "1", "prompt": chat}, {"id": "2", "prompt": chat[2:]}])
    assert sampled(model, data, tmp_path / "out.jsonl", temperature=0)["truncated"] == 1
    first, second = rows_of(tmp_path / "out.jsonl")
    assert first["prompt"] == chat  # the row says what was asked
    assert first["responses"] == second["responses"]  # what was read is the last turn alone


def test_a_long_prompt_is_refused_by_setting_and_nothing_is_written(model, tmp_path):
    data = recipe_runs.write(tmp_path / "long.jsonl", [{"id": "1", "prompt": recipe_runs.chat("a" * 200)}])
    with pytest.raises(BadInput, match=r"^Prompt 1 has \d+ tokens, and 112 fit"):
        sampled(model, data, tmp_path / "out.jsonl", long_prompts="refuse")
    assert list(tmp_path.iterdir()) == [data]


def test_best_of_keeps_the_response_that_the_reward_model_scores_highest(model, reward, tmp_path):
    data = recipe_runs.prompts(tmp_path)
    sampled(model, data, tmp_path / "all.jsonl", samples=6, reward=reward)
    sampled(model, data, tmp_path / "best.jsonl", samples=2, best_of=3, reward=reward)
    reward_models = RewardModels.load(
        str(reward), device=recipe_runs.CPU, dtype=torch.float32, max_length=120, budget=4096
    )
    moved = 0
    for every, best in zip(rows_of(tmp_path / "all.jsonl"), rows_of(tmp_path / "best.jsonl"), strict=True):
        texts = tuple(item["text"] for item in every["responses"])
        ((*scores,),) = reward_models.mean_scores([(tuple(every["prompt"]), texts)])
        assert [item["score"] for item in every["responses"]] == pytest.approx(scores, abs=1e-5)
        winners = [max(range(start, start + 3), key=scores.__getitem__) for start in (0, 3)]
        assert [item["text"] for item in best["responses"]] == [texts[winner] for winner in winners]
        moved += winners != [0, 3]
    assert moved > 2


def test_beams_give_the_best_responses_first(model, tmp_path):
    data = recipe_runs.prompts(tmp_path, count=2)
    sampled(model, data, tmp_path / "out.jsonl", samples=3, num_beams=4, length_penalty=0)
    for row in rows_of(tmp_path / "out.jsonl"):
        scores = [item["logprob"] for item in row["responses"]]
        assert scores == sorted(scores, reverse=True)
        assert len({item["text"] for item in row["responses"]}) == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"best_of": 4}, "best_of needs a reward model"),
        ({"num_beams": 2, "samples": 3}, "3 responses per prompt need num_beams of at least 3"),
        ({"num_beams": 2, "batch_invariant": True}, "num_beams above 1 goes neither"),
        ({"model": "http://127.0.0.1:9/v1", "batch_invariant": True}, "A server samples in its own way"),
        ({"max_new_tokens": 110}, "leaves no room"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(model, tmp_path, values, said):
    data = recipe_runs.prompts(tmp_path)
    with pytest.raises(BadInput, match=said):
        sampled(values.pop("model", model), data, tmp_path / "out.jsonl", **values)
    assert list(tmp_path.iterdir()) == [data]


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        CompletionFile(Path(tmp_path / "file" / "out.jsonl"), request={}, prompts=1, resume=False)
