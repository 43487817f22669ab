"""A rollout iteration of PPO on tiny models without the recipe: models, trajectories, a recording training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models_core.contract.rows.records import Message, Prompt
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import PPOConfig, parse
from models_core.modeling import chat
from models_core.modeling.packing import Group
from models_core.rl import rollouts
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.prompts import EncodedPrompts
from models_core.rl.trajectories import Trajectories, compute_advantages

CPU = torch.device("cpu")


def settings(**values: Any) -> PPOConfig:
    return parse(PPOConfig, {"max_new_tokens": 7, "batch_size": 8, **values})


def actor_critic(
    base: Path, reward: Path, chosen: PPOConfig, *, reference: Path | None = None, dtype: torch.dtype = torch.float32
) -> ActorCritic:
    torch.manual_seed(chosen.seed)  # LoRA's first matrices are drawn
    return ActorCritic.load(
        chosen, model=str(base), reference=str(reference or base), rewards=[str(reward)], device=CPU, dtype=dtype
    )


def encoded_prompts(of: ActorCritic, *, count: int = 8) -> EncodedPrompts:
    """Prompts of different lengths."""
    prompts = [Prompt(id=str(n), messages=(Message(role="user", content="tell " + "x" * n),)) for n in range(count)]
    ids = [
        of.tokenizer.apply_chat_template(list(prompt.messages), add_generation_prompt=True, return_dict=False)
        for prompt in prompts
    ]
    return EncodedPrompts(prompts=prompts, ids=ids, counts={})


def sample_trajectories(of: ActorCritic, *, count: int = 8, seed: int = 5) -> tuple[list[Any], Tensor, Trajectories]:
    """Completions of the policy cut to unequal lengths, their scores (batch,), and their trajectories."""
    rows = list(range(count))
    sampled = rollouts.sample_rollouts(of, encoded_prompts(of, count=count), rows, seed=seed, stop=StopSignal())
    # A random model hardly ever ends by itself.
    cut = [item.ids[: 2 + number % 5] for number, item in enumerate(sampled)]
    completions = [
        replace(item, ids=ids, text=chat.decode_response(of.tokenizer, ids))
        for item, ids in zip(sampled, cut, strict=True)
    ]
    groups = [item.group for item in completions]
    scores = of.rewards.score_groups(groups, [item.prompt.messages for item in completions]).mean(1)
    trajectories = compute_advantages(
        groups,
        scores,
        rollouts.ended_by_eos(completions),
        actor_critic=of,
        kl_coef=0.1,
        group_size=of.settings.group_size,
    )
    return completions, scores, trajectories


def shake(model: Any, *, size: float = 0.05, seed: int = 1) -> None:
    """Move the trained weights, as if the policy had been updated since the rollouts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype) * size)


class Listener:
    """In the place of a Training: takes no step, and records the gradients of each update."""

    def __init__(self, of: ActorCritic) -> None:
        self.of = of
        self.seen: list[tuple[str, dict[str, Tensor]]] = []

    def backward(self, loss: Tensor, *names: str, is_last: bool) -> None:
        loss.backward()

    def update(self, name: str, *, learning_rate: float) -> float:
        _, weights = self.of.trained_weights[name]
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
