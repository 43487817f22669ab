"""What `evaluate`, `score` and `sample` report, against a slow second computation."""

import json
import math

import pytest
import torch

from models_core.commands import evaluate, sample, score
from models_core.commands.evaluate import win_rate
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.rows import prompt_identity, row_parser
from models_core.contract.runs import progress
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import EvaluateConfig, SampleConfig, ScoreConfig
from models_core.modeling import chat, loading
from tests.models_core.tiny import make_tiny_model

CPU = torch.device("cpu")
FP32 = {"precision": "fp32"}
PROMPTS = [[{"role": "user", "content": text}] for text in ("hi", "who are you?", "count to three", "go")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two policies and a reward model with shift 0.5 and scale 2."""
    folder = tmp_path_factory.mktemp("models")
    policy = make_tiny_model(folder / "policy")
    make_tiny_model(folder / "other", kind="gpt2")
    reward = loading.new_reward_model(policy, device=CPU, dtype=torch.float32, seed=0)
    tokenizer = loading.load_tokenizer(policy)
    loading.save_reward_model(folder / "reward", reward, tokenizer, reward_shift=0.5, reward_scale=2.0)
    return folder


@pytest.fixture
def file(tmp_path):
    def write(rows):
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps({"id": str(index), **row}) + "\n" for index, row in enumerate(rows)))
        return path

    return write


def slow_score(folder, messages, text):
    tokenizer = loading.load_tokenizer(folder / "reward")
    model = loading.load_reward_model(folder / "reward", device=CPU, dtype=torch.float32)
    ids = chat.encode_prompt(tokenizer, messages, max_tokens=400) + chat.encode_response(tokenizer, text)
    with torch.no_grad():
        return (model(torch.tensor([ids])).logits.item() - 0.5) / 2.0


def run(folder, path, tmp_path, *, model="policy", settings=None, **options):
    return evaluate.run(
        settings or EvaluateConfig(**FP32, max_new_tokens=8),
        model=str(folder / model),
        data=path,
        out=tmp_path / "report.json",
        device=CPU,
        stop=StopSignal(),
        **{name: str(folder / value) for name, value in options.items()},
    )


def test_perplexity_is_that_of_the_response_with_its_eos(folder, file, tmp_path):
    rows = [{"prompt": prompt, "response": text} for prompt, text in zip(PROMPTS, ("a", "bcd", "ef", ""), strict=True)]
    rows[3]["response"] = "ghijk"
    report = run(folder, file(rows), tmp_path)
    tokenizer = loading.load_tokenizer(folder / "policy")
    model = loading.load_policy(folder / "policy", device=CPU, dtype=torch.float32)
    losses = []
    for row in rows:
        prompt = chat.encode_prompt(tokenizer, row["prompt"], max_tokens=400)
        response = chat.encode_response(tokenizer, row["response"])
        with torch.no_grad():
            logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        losses += torch.nn.functional.cross_entropy(logits, torch.tensor(response), reduction="none").tolist()
    assert report["tokens"] == len(losses) == 2 + 4 + 3 + 6
    assert report["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    assert report["perplexity"] == pytest.approx(math.exp(report["loss"]))
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_scores_are_shifted_scaled_and_in_order(folder, file, tmp_path):
    texts = ["a", "something longer", ""]
    rows = [{"prompt": prompt, "responses": [{"text": text, "rank": 1} for text in texts]} for prompt in PROMPTS]
    summary = score.run(
        ScoreConfig(**FP32), model=str(folder / "reward"), data=file(rows), out=tmp_path / "scores.jsonl", device=CPU
    )
    written = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [row["id"] for row in written] == ["0", "1", "2", "3"]
    for prompt, row in zip(PROMPTS, written, strict=True):
        assert row["scores"] == pytest.approx([slow_score(folder, prompt, text) for text in texts], abs=1e-5)
    assert (summary["rows"], summary["responses"]) == (4, 12)


def test_a_response_too_long_to_score_is_named(folder, file, tmp_path):
    path = file([{"prompt": PROMPTS[0], "chosen": "a", "rejected": "b" * 600}])
    with pytest.raises(BadInput, match="response 2 of the row '0' is longer than max_length"):
        score.run(ScoreConfig(**FP32), model=str(folder / "reward"), data=path, out=tmp_path / "s.jsonl", device=CPU)
    assert not (tmp_path / "s.jsonl").exists()


def test_reward_accuracy_counts_the_pairs_ordered_alike(folder, file, tmp_path):
    texts = ["a", "bb", "ccc"]
    order = sorted(texts, key=lambda text: -slow_score(folder, PROMPTS[0], text))
    right = [{"text": text, "rank": rank} for rank, text in enumerate(order, start=1)]
    swapped = [{"text": text, "rank": rank} for rank, text in zip((2, 1, 3), order, strict=True)]
    rows = [{"prompt": PROMPTS[0], "responses": responses} for responses in (right, swapped)]
    report = run(folder, file(rows), tmp_path, model="reward")
    assert (report["pairs"], report["rankings"]) == (6, 2)
    assert report["accuracy"] == pytest.approx(5 / 6)
    assert report["accuracy_low"] <= report["accuracy"] <= report["accuracy_high"]


def test_rankings_without_a_strict_pair_cannot_be_measured(folder, file, tmp_path):
    responses = [{"text": "a", "rank": 1}, {"text": "b", "rank": 1}]
    with pytest.raises(BadInput, match="no ranking has two responses in a strict order"):
        run(folder, file([{"prompt": PROMPTS[0], "responses": responses}]), tmp_path, model="reward")


def test_a_model_against_itself_ties_everywhere_and_wins_half(folder, file, tmp_path):
    report = run(folder, file([{"prompt": prompt} for prompt in PROMPTS]), tmp_path, against="policy", reward="reward")
    assert (report["win_rate"], report["ties"], report["prompts"]) == (0.5, 4, 4)


def test_a_win_rate_tells_its_progress_over_both_models(folder, file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS", 0)
    run(folder, file([{"prompt": prompt} for prompt in PROMPTS]), tmp_path, against="other", reward="reward")
    progress_lines = [line.split() for line in capsys.readouterr().err.splitlines() if line.endswith(" responses")]
    counts = [int(counts.partition("/")[0]) for counts, _ in progress_lines]
    assert {counts.partition("/")[2] for counts, _ in progress_lines} == {"8"}
    assert counts == sorted(counts)
    assert {4, 8} <= set(counts)


def test_a_win_rate_is_the_part_of_higher_scores(folder, file, tmp_path):
    path = file([{"prompt": prompt} for prompt in PROMPTS])
    report = run(folder, path, tmp_path, against="other", reward="reward")
    scores = {}
    for name in ("policy", "other"):
        settings = SampleConfig(**FP32, max_new_tokens=8)
        out = tmp_path / f"{name}.jsonl"
        sample.run(settings, model=str(folder / name), data=path, samples=1, out=out, device=CPU, stop=StopSignal())
        rows = row_parser.read(out, "responses")
        scores[name] = [slow_score(folder, row.messages, row.texts[0]) for row in rows]
    wins = [ours > theirs for ours, theirs in zip(scores["policy"], scores["other"], strict=True)]
    assert report["win_rate"] == sum(wins) / 4
    assert report["score_model"] == pytest.approx(sum(scores["policy"]) / 4, abs=1e-5)
    assert report["score_against"] == pytest.approx(sum(scores["other"]) / 4, abs=1e-5)


@pytest.mark.parametrize(("ours", "theirs", "outcome"), [(2.0, 1.0, 1.0), (1.0, 1.0, 0.5), (0.0, 1.0, 0.0)])
def test_a_tie_is_half_a_win(ours, theirs, outcome):
    assert win_rate.win(ours, theirs) == outcome


@pytest.mark.parametrize("given", [{"against": "other"}, {"reward": "reward"}])
def test_a_win_rate_needs_an_opponent_and_a_judge(folder, file, tmp_path, given):
    with pytest.raises(BadInput, match="A win rate needs both"):
        run(folder, file([{"prompt": PROMPTS[0]}]), tmp_path, **given)


def responses(folder, path, out, *, stop=None, **settings):
    options = {"max_new_tokens": 8, **FP32, **settings}
    return sample.run(
        SampleConfig(**options),
        model=str(folder / "policy"),
        data=path,
        samples=3,
        out=out,
        device=CPU,
        stop=stop or StopSignal(),
    )


def test_sampled_rows_hold_prompt_texts_reasons_and_logprobs(folder, file, tmp_path):
    path = file([{"prompt": prompt} for prompt in PROMPTS])
    summary = responses(folder, path, tmp_path / "a.jsonl", seed=5)
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [(row["id"], row["prompt"]) for row in rows] == [
        (str(index), prompt) for index, prompt in enumerate(PROMPTS)
    ]
    flat = [response for row in rows for response in row["responses"]]
    assert all(response.keys() == {"text", "finish_reason", "logprob"} for response in flat)
    assert {response["finish_reason"] for response in flat} <= {"stop", "length"}
    assert len({response["text"] for response in flat}) > 6
    assert (summary["prompts"], summary["responses"]) == (4, 12)
    stopped = sum(response["finish_reason"] == "stop" for response in flat)
    assert summary["tokens"] <= 12 * 8 - stopped
    responses(folder, path, tmp_path / "b.jsonl", seed=5, batch_size=1)
    assert [row["responses"][0]["text"] for row in rows] == [
        json.loads(line)["responses"][0]["text"] for line in (tmp_path / "b.jsonl").read_text().splitlines()
    ]


def test_a_stop_leaves_no_half_written_responses(folder, file, tmp_path):
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Stopped):
        responses(folder, file([{"prompt": PROMPTS[0]}]), tmp_path / "a.jsonl", stop=stop)
    assert not (tmp_path / "a.jsonl").exists()


def test_a_response_that_leaves_no_room_for_the_prompt_is_refused(folder, file, tmp_path):
    with pytest.raises(BadInput, match="max_new_tokens 500 leaves no room for a prompt within 512 tokens"):
        responses(folder, file([{"prompt": PROMPTS[0]}]), tmp_path / "a.jsonl", max_new_tokens=500)


@pytest.fixture
def taught(folder, tmp_path):
    """The reward model, which has learned from the first two prompts."""
    policy, known = folder / "policy", {prompt_identity.digest(prompt) for prompt in PROMPTS[:2]}
    model = loading.new_reward_model(policy, device=CPU, dtype=torch.float32, seed=0)
    tokenizer = loading.load_tokenizer(policy)
    loading.save_reward_model(tmp_path / "taught", model, tokenizer, trained_on=known)
    return tmp_path / "taught"


def test_a_reward_model_is_not_measured_on_prompts_it_learned_from(folder, file, taught, tmp_path, capsys):
    rows = [{"prompt": prompt, "chosen": "a", "rejected": "bc"} for prompt in PROMPTS]
    report = run(folder, file(rows), tmp_path, model=taught)
    assert (report["rankings"], report["trained_on"], report["pairs"]) == (2, 2, 2)
    assert "2 of 4 rows are left out: the reward model was trained on their prompts" in capsys.readouterr().err
    (tmp_path / "report.json").unlink()
    with pytest.raises(BadInput, match="was trained on the prompts of all 2 rows, so they cannot measure it"):
        run(folder, file(rows[:2]), tmp_path, model=taught)
    assert not (tmp_path / "report.json").exists()


def test_a_win_rate_is_of_prompts_the_judge_has_not_learned_from(folder, file, taught, tmp_path):
    rows = [{"prompt": prompt} for prompt in PROMPTS]
    report = run(folder, file(rows), tmp_path, against="other", reward=taught)
    assert (report["prompts"], report["trained_on"]) == (2, 2)
    with pytest.raises(BadInput, match="was trained on the prompts of all 2 rows"):
        run(folder, file(rows[:2]), tmp_path, against="other", reward=taught)
