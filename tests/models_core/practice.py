"""A phase of PPO on tiny models without the recipe around it: networks, sampled episodes, a training that listens."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models_core.contract.records import Message, Prompt
from models_core.contract.settings import PPOConfig, parse
from models_core.contract.stopping import StopSignal
from models_core.modeling import chat
from models_core.modeling.packing import Group
from models_core.rl import rollouts, trajectories
from models_core.rl.actor_critic import Networks
from models_core.rl.prompts import Practice
from models_core.rl.trajectories import Episodes

CPU = torch.device("cpu")


def settings(**values: Any) -> PPOConfig:
    return parse(PPOConfig, {"max_new_tokens": 7, "batch_size": 8, **values})


def networks(
    base: Path, reward: Path, chosen: PPOConfig, *, reference: Path | None = None, dtype: torch.dtype = torch.float32
) -> Networks:
    torch.manual_seed(chosen.seed)  # LoRA's first matrices are drawn
    return Networks.load(
        chosen, model=str(base), reference=str(reference or base), rewards=[str(reward)], device=CPU, dtype=dtype
    )


def practice(of: Networks, *, count: int = 8) -> Practice:
    """Prompts of different lengths."""
    prompts = [Prompt(id=str(n), messages=(Message(role="user", content="tell " + "x" * n),)) for n in range(count)]
    ids = [
        of.tokenizer.apply_chat_template(list(prompt.messages), add_generation_prompt=True, return_dict=False)
        for prompt in prompts
    ]
    return Practice(prompts=prompts, ids=ids, counts={})


def sampled_phase(of: Networks, *, count: int = 8, seed: int = 5) -> tuple[list[Any], Tensor, Episodes]:
    """Answers of the policy, cut to unequal lengths, what the reward model says of them, and the measured phase."""
    rows = list(range(count))
    sampled = rollouts.answers(of, practice(of, count=count), rows, seed=seed, stop=StopSignal())
    # A random model hardly ever ends by itself.
    cut = [answer.ids[: 2 + number % 5] for number, answer in enumerate(sampled)]
    answers = [
        replace(answer, ids=ids, text=chat.decode_response(of.tokenizer, ids))
        for answer, ids in zip(sampled, cut, strict=True)
    ]
    groups = [answer.group for answer in answers]
    scores = of.opinions(groups, [answer.prompt.messages for answer in answers]).mean(1)
    phase = trajectories.measure(
        groups, scores, rollouts.ended(answers), networks=of, kl_coef=0.1, samples=of.settings.group_size
    )
    return answers, scores, phase


def shake(model: Any, *, size: float = 0.05, seed: int = 1) -> None:
    """Move the weights that learn, as if something had been learned since the phase was sampled."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype) * size)


class Listener:
    """In the place of a Training: takes no step, and notes the gradients that each update would have seen."""

    def __init__(self, of: Networks) -> None:
        self.of = of
        self.seen: list[tuple[str, dict[str, Tensor]]] = []

    def backward(self, loss: Tensor, *names: str, is_last: bool) -> None:
        loss.backward()

    def update(self, name: str, *, learning_rate: float) -> float:
        _, weights = self.of.learning[name]
        found = {key: weight.grad.clone() for key, weight in weights.items() if weight.grad is not None}
        for weight in weights.values():
            weight.grad = None
        self.seen.append((name, found))
        return 1.0


def plain_log_probs(model: Any, group: Group, *, temperature: float = 1.0) -> Tensor:
    """Of one response's tokens by plain transformers: [tokens]."""
    row = [*group.prompt, *group.responses[0]]
    logits = model(input_ids=torch.tensor([row])).logits[0] / temperature
    chosen = logits.log_softmax(-1)[len(group.prompt) - 1 : -1]
    return chosen.gather(1, torch.tensor(group.responses[0])[:, None])[:, 0]


def plain_states(trunk: Any, group: Group) -> Tensor:
    """The hidden states that predict one response's tokens: [tokens, width]."""
    row = [*group.prompt, *group.responses[0]]
    found: Tensor = trunk(input_ids=torch.tensor([row])).last_hidden_state[0, len(group.prompt) - 1 : -1]
    return found
