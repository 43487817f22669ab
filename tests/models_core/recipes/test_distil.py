"""Distillation: the divergence against torch's own, exact to the gradient, and a recipe like the others."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import DistilConfig, parse
from models_core.demonstrations.examples import Example
from models_core.modeling import adapters, forward, loading
from models_core.recipes import distil
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import CPU, metrics, run, weights
from tests.models_core.tiny import make_tiny_model

SHORT: dict[str, Any] = {
    "epochs": 2, "batch_size": 3, "learning_rate": 0.01, "max_new_tokens": 6, "max_length": 128, "held_out": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "model": str(make_tiny_model(folder / "student", seed=1)),
        "teacher": str(make_tiny_model(folder / "teacher", seed=2)),
    }


@pytest.fixture
def given(models: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    return models | {"data": recipe_runs.prompts(tmp_path)}


def examples() -> list[Example]:
    torch.manual_seed(3)
    sizes = [(20, 3), (11, 5), (17, 1), (9, 8)]
    return [
        Example(torch.randint(3, 250, (prompt,)).tolist(), torch.randint(3, 250, (response,)).tolist(), [], response)
        for prompt, response in sizes
    ]


def networks(models: dict[str, str], dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    student, teacher = (loading.load_policy(models[name], device=CPU, dtype=dtype) for name in ("model", "teacher"))
    return student.requires_grad_(True), teacher


def slow_loss(student: Any, teacher: Any, rows: list[Example], *, temperature: float, coef: float) -> torch.Tensor:
    """Row by row through plain transformers, with torch's own divergence."""
    total, tokens = torch.zeros(()), 0
    for row in rows:
        ids = torch.tensor([[*row.prompt, *row.response]])
        at = slice(len(row.prompt) - 1, -1)
        own, taught = student(input_ids=ids).logits[0, at], teacher(input_ids=ids).logits[0, at].detach()
        kl = functional.kl_div(
            functional.log_softmax(own / temperature, -1),
            functional.log_softmax(taught / temperature, -1),
            log_target=True,
            reduction="sum",
        )
        total = total + temperature**2 * kl
        total = total + coef * functional.cross_entropy(own, torch.tensor(row.response), reduction="sum")
        tokens += len(row.response)
    return total / tokens


@pytest.mark.parametrize(("temperature", "coef"), [(1.0, 0.0), (2.5, 0.0), (0.5, 0.75)])
@pytest.mark.parametrize("budget", [30, 4096])
def test_loss_and_gradient_are_those_of_plain_torch(
    models: dict[str, str], temperature: float, coef: float, budget: int
) -> None:
    rows = examples()
    settings = parse(
        DistilConfig,
        {
            "objective": "logits", "distil_temperature": temperature, "sft_coef": coef,
            "max_tokens_per_forward": budget, "precision": "fp32",
        },
    )  # fmt: skip
    student, teacher = networks(models)
    slow = slow_loss(student, teacher, rows, temperature=temperature, coef=coef)
    slow.backward()
    expected = {name: weight.grad.clone() for name, weight in student.named_parameters()}
    student.zero_grad()
    prepared: Any = adapters.prepare(student, settings, tokenizer=None)
    found = distil.accumulate(prepared, teacher, rows, settings=settings, device=CPU, stop=StopSignal())
    assert found["loss"] == pytest.approx(slow.item(), rel=1e-5)
    for name, weight in prepared.named_parameters():
        assert torch.allclose(weight.grad, expected[name], atol=2e-5), name


def test_the_divergence_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher's (3/4, 1/4) against (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2), and at T = 2 of their square roots."""
    monkeypatch.setattr(forward, "_head_of", lambda model, states: lambda rows: rows)
    taught, own = (torch.log(torch.tensor([values])) for values in ([0.75, 0.25], [0.5, 0.5]))
    divergence = partial(forward.token_divergences, None, own, None, taught)
    assert divergence(temperature=1.0).item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)
    root = math.sqrt(3) / (1 + math.sqrt(3))
    expected = 4 * (root * math.log(2 * root) + (1 - root) * math.log(2 * (1 - root)))
    assert divergence(temperature=2.0).item() == pytest.approx(expected, rel=1e-5)


def test_a_teacher_of_itself_has_no_divergence(models: dict[str, str]) -> None:
    settings = parse(DistilConfig, {"objective": "logits"})
    student, _ = networks(models)
    found = distil.evaluate(student, student, examples(), settings=settings, device=CPU)
    assert found == {"eval_loss": pytest.approx(0.0, abs=1e-6), "eval_teacher_kl": pytest.approx(0.0, abs=1e-6)}


@pytest.mark.parametrize("objective", ["responses", "logits"])
def test_a_student_comes_to_its_teacher(objective: str, given: dict[str, Any], tmp_path: Path) -> None:
    values = SHORT | {"objective": objective, "epochs": 12}
    result = run("distil", tmp_path / "run", values, **given)
    rows = metrics(tmp_path / "run")
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert result["prompts"] == 8
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
    assert ("teacher_kl" in rows[0]) == (objective == "logits")


@pytest.mark.parametrize("objective", ["responses", "logits"])
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(
    objective: str, given: dict[str, Any], tmp_path: Path
) -> None:
    values = SHORT | {"objective": objective, "save_every": 1}
    run("distil", tmp_path / "whole", values, **given)
    stop = StopSignal()
    original = distil.accumulate
    steps = []

    def counted(*arguments: Any, **more: Any) -> dict[str, float]:
        steps.append(1)
        stop.requested = len(steps) == 3
        return original(*arguments, **more)

    distil.accumulate = counted
    try:
        with pytest.raises(Stopped):
            run("distil", tmp_path / "halves", values, stop=stop, **given)
    finally:
        distil.accumulate = original
    run("distil", tmp_path / "halves", values, resume=True, **given)
    assert metrics(tmp_path / "halves") == metrics(tmp_path / "whole")
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_the_responses_of_a_file_may_be_learned_by_logits(models: dict[str, str], tmp_path: Path) -> None:
    data = recipe_runs.demonstrations(tmp_path)
    values = SHORT | {"objective": "logits", "response_source": "data"}
    result = run("distil", tmp_path / "run", values, data=data, **models)
    assert result["prompts"] == 8
    assert not (tmp_path / "run" / "checkpoints" / "teacher.jsonl").exists()
    with pytest.raises(BadInput, match="take sft, or objective=logits"):
        run("distil", tmp_path / "other", SHORT | {"response_source": "data"}, data=data, **models)


def test_held_out_prompts_are_measured(given: dict[str, Any], tmp_path: Path) -> None:
    others = recipe_runs.write(
        tmp_path / "others.jsonl", [{"id": str(n), "prompt": recipe_runs.chat(f"other {n}")} for n in range(4)]
    )
    result = run("distil", tmp_path / "run", SHORT | {"objective": "logits"}, evaluation=others, **given)
    assert result["held_out_prompts"] == 4
    assert result["eval_loss"] == result["eval_teacher_kl"] > 0


def test_another_vocabulary_is_refused_for_logits_and_taken_for_responses(
    models: dict[str, str], given: dict[str, Any], tmp_path: Path
) -> None:
    teacher = Path(models["teacher"]).with_name("other words")
    if not teacher.exists():
        import shutil

        shutil.copytree(models["teacher"], teacher)
        path = teacher / "tokenizer.json"
        document = json.loads(path.read_text())
        words = document["model"]["vocab"]
        first, second = sorted(words, key=words.get)[-2:]
        words[first], words[second] = words[second], words[first]
        path.write_text(json.dumps(document))
    other = given | {"teacher": str(teacher)}
    with pytest.raises(BadInput, match="another vocabulary than the student"):
        run("distil", tmp_path / "run", SHORT | {"objective": "logits"}, **other)
    assert not (tmp_path / "run").exists()
    assert run("distil", tmp_path / "responses", SHORT | {"epochs": 1}, **other)["prompts"] > 0
