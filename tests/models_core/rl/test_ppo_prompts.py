"""Which prompts a policy learns on: none that its reward model learned from, none too long, whole groups."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.rows import prompt_identity, trained_prompts
from models_core.contract.rows.records import Message, Prompt
from models_core.contract.settings import PPOConfig
from models_core.modeling import loading
from models_core.rl import prompts
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import run
from tests.models_core.tiny import make_tiny_model

SHORT: dict[str, Any] = {"episodes": 8, "batch_size": 4, "max_new_tokens": 4, "held_out": 0}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model that learned from "say 0" to "say 7", the last of them in a row that orders nothing."""
    folder = tmp_path_factory.mktemp("trained")
    rows = [json.loads(line) for line in recipe_runs.rankings(folder).read_text(encoding="utf-8").splitlines()]
    rows[7]["responses"] = [{"text": "a", "rank": 1}, {"text": "b", "rank": 1}]
    data = recipe_runs.write(folder / "rankings.jsonl", rows)
    run("reward", folder / "run", {"epochs": 1, "batch_size": 4}, model=str(tiny), data=data)
    return folder / "run"


def prompt(text: str) -> Prompt:
    return Prompt(id=text, messages=(Message(role="user", content=text),))


def test_a_reward_model_tells_by_digests_which_prompts_it_learned_from(trained: Path) -> None:
    known = trained_prompts.read(trained / "model")
    assert known == {prompt_identity.digest(recipe_runs.chat(f"say {n}")) for n in range(7)}
    assert "say" not in (trained / "model" / trained_prompts.FILE_NAME).read_text(encoding="utf-8")
    assert json.loads((trained / "result.json").read_text(encoding="utf-8"))["sha256"]


def test_digests_that_an_earlier_version_wrote_are_known(tmp_path: Path) -> None:
    earlier = hashlib.sha256(json.dumps([["user", "say 1"]]).encode()).hexdigest()[:32]
    (tmp_path / trained_prompts.FILE_NAME).write_text(earlier + "\n", encoding="utf-8")
    known = trained_prompts.read(tmp_path)
    rows = [prompt("say 1"), prompt("say  1\n"), prompt("say 2")]
    assert [row.id for row in trained_prompts.exclude(rows, known)] == ["say 2"]


def test_what_was_learned_before_stays_known_when_a_reward_model_is_trained_on(
    tiny: Path, trained: Path, tmp_path: Path
) -> None:
    rows = [{"id": "x", "prompt": recipe_runs.chat("new"), "chosen": "a", "rejected": "b"}]
    data = recipe_runs.write(tmp_path / "pairs.jsonl", rows)
    run("reward", tmp_path / "run", {}, model=str(trained), data=data)
    known = trained_prompts.read(tmp_path / "run" / "model")
    assert known == trained_prompts.read(trained / "model") | {prompt_identity.digest(recipe_runs.chat("new"))}


@pytest.mark.parametrize(("choice", "kept"), [("skip", 3), ("keep", 5)])
def test_prompts_that_were_learned_from_are_left_out_and_counted(choice: str, kept: int, trained: Path) -> None:
    """Another space makes another prompt, as in the labeling database."""
    given = [prompt(text) for text in ("say 0", "other", "say 3", "say  3", "more")]
    found, seen = prompts.drop_trained(given, rewards=[str(trained)], settings=PPOConfig(reward_train_overlap=choice))
    assert (len(found), seen) == (kept, 2)
    assert [each.id for each in found if not each.id.startswith("say")] == ["other", "more"]


def test_they_can_be_refused_and_are_where_nothing_is_left(trained: Path) -> None:
    with pytest.raises(BadInput, match="1 of 2 prompts are among those the reward model was trained on"):
        prompts.drop_trained(
            [prompt("say 1"), prompt("x")], rewards=[str(trained)], settings=PPOConfig(reward_train_overlap="refuse")
        )
    with pytest.raises(BadInput, match="All 1 prompts are among those"):
        prompts.drop_trained([prompt("say 1")], rewards=[str(trained)], settings=PPOConfig())


def test_of_several_reward_models_each_ones_prompts_are_known(tiny: Path, trained: Path, tmp_path: Path) -> None:
    stranger = recipe_runs.make_reward_model(tiny, tmp_path / "stranger")
    names = [str(stranger), str(trained)]
    assert trained_prompts.read(stranger) == frozenset()
    assert prompts.drop_trained([prompt("say 1"), prompt("x")], rewards=names, settings=PPOConfig())[1] == 1


def test_a_run_says_how_many_it_left_out(
    tiny: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": str(n), "prompt": recipe_runs.chat(f"{'say' if n < 3 else 'tell'} {n}")} for n in range(8)]
    data = recipe_runs.write(tmp_path / "prompts.jsonl", rows)
    result = run("ppo", tmp_path / "run", SHORT, model=str(tiny), reward=str(trained), data=data)
    assert (result["prompts"], result["reward_train_overlap"]) == (5, 3)
    assert "3 of 8 prompts are among those the reward model was trained on, and are skipped." in capfd.readouterr().err


def test_what_a_policy_is_measured_on_is_unknown_to_its_reward_model(
    tiny: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": str(n), "prompt": recipe_runs.chat(f"{'say' if n < 2 else 'ask'} {n}")} for n in range(5)]
    given: dict[str, Any] = {"model": str(tiny), "reward": str(trained), "data": recipe_runs.prompts(tmp_path)}
    measured_on = recipe_runs.write(tmp_path / "eval.jsonl", rows)
    run("ppo", tmp_path / "run", SHORT, evaluation=measured_on, **given)
    said = "2 of 5 evaluation prompts are among those the reward model was trained on, and are skipped."
    assert said in capfd.readouterr().err
    shown = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["id"] for row in shown} == {"2", "3", "4"}
    all_known = recipe_runs.write(tmp_path / "known.jsonl", rows[:2])
    with pytest.raises(BadInput, match=r"All 2 evaluation prompts \(--eval\) are among those"):
        run("ppo", tmp_path / "refused", SHORT, evaluation=all_known, **given)
    assert not (tmp_path / "refused").exists()
    kept = run("ppo", tmp_path / "kept", SHORT | {"reward_train_overlap": "keep"}, evaluation=all_known, **given)
    assert kept["prompts"] == 8


# ---- length --------------------------------------------------------------------------------------------------------


def encoded(tiny: Path, texts: list[str], **values: Any) -> prompts.EncodedPrompts:
    tokenizer = loading.load_tokenizer(tiny)
    policy = loading.load_policy(tiny, device="cpu", dtype=recipe_runs.torch.float32)
    settings = PPOConfig(max_length=64, max_new_tokens=8, **values)
    return prompts.encode([prompt(text) for text in texts], policy=policy, tokenizer=tokenizer, settings=settings)


def test_long_prompts_are_cut_from_the_left_left_out_or_refused(tiny: Path) -> None:
    texts = ["short", "x" * 100 + "end"]
    cut = encoded(tiny, texts)
    assert [len(ids) for ids in cut.ids][1] == 56
    assert cut.counts == {"truncated_prompts": 1}
    assert loading.load_tokenizer(tiny).decode(cut.ids[1]).endswith("end<|im_end|>\n<|im_start|>assistant\n")
    skipped = encoded(tiny, texts, long_prompts="skip")
    assert [each.id for each in skipped.prompts] == ["short"]
    assert skipped.counts == {"too_long_prompts": 1}
    with pytest.raises(BadInput, match="is longer than the 56 tokens that fit beside a response"):
        encoded(tiny, texts, long_prompts="refuse")


def test_prompts_that_are_all_too_long_end_the_run_with_the_reason(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="All 2 prompts are longer than the 56 tokens that fit"):
        encoded(tiny, ["x" * 100, "y" * 90], long_prompts="skip")
    reward = recipe_runs.make_reward_model(tiny, tmp_path / "reward")
    given = {"model": str(tiny), "reward": str(reward), "data": recipe_runs.prompts(tmp_path)}
    with pytest.raises(BadInput, match="max_new_tokens leaves no room for a prompt"):
        run("ppo", tmp_path / "run", SHORT | {"max_new_tokens": 512}, **given)
    assert not (tmp_path / "run").exists()


# ---- rollout iterations ----------------------------------------------------------------------------------------------


def test_iterations_go_through_all_prompts_before_one_comes_again() -> None:
    plan = prompts.rollout_batches(6, settings=PPOConfig(episodes=15, batch_size=4))
    assert [len(batch) for batch in plan] == [4, 4, 4, 3]
    rows = [row for batch in plan for row in batch]
    assert sorted(rows[:6]) == sorted(rows[6:12]) == list(range(6))
    assert prompts.rollout_batches(6, settings=PPOConfig(episodes=15, batch_size=4, seed=1)) != plan


def test_groups_are_whole_and_count_as_episodes() -> None:
    plan = prompts.rollout_batches(6, settings=PPOConfig(algorithm="rloo", episodes=30, batch_size=12))
    assert [len(batch) for batch in plan] == [3, 3, 2]  # 8 prompts, 4 responses each
    with pytest.raises(BadInput, match=r"batch_size \(10\) must be a multiple of samples_per_prompt \(4\)"):
        prompts.rollout_batches(6, settings=PPOConfig(algorithm="grpo", batch_size=10))
    with pytest.raises(BadInput, match="algorithm=rloo compares the responses to a prompt"):
        prompts.rollout_batches(6, settings=PPOConfig(algorithm="rloo", samples_per_prompt=1))
