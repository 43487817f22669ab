"""Rollouts of each iteration, and responses that are evaluated: from the rollout server where it can be trusted, else
sampled in this process.

    iteration i         rollouts by the weights of     while it trains
    rollouts_ahead=0    i - 1                          -
    rollouts_ahead=1    i - 2 (the first: i - 1)       the server samples those of i + 1 by the weights of i - 1

What the server sends is held against a forward pass of the policy on a few responses before anything is made of it. A
server that fails, or that samples from other weights than it was given, costs no rollouts: the iteration's are sampled
in this process, and the server is asked again later, after waits that double from one iteration to 32.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models_core.contract.errors import BadInput, ServerFailed, Stopped
from models_core.contract.runs import processes
from models_core.contract.runs.stopping import StopSignal
from models_core.generation.generate import Sample
from models_core.modeling import chat
from models_core.modeling.adapters.layers import embedding
from models_core.rl import rollouts
from models_core.rl.actor_critic import ActorCritic
from models_core.rl.prompts import EncodedPrompts
from models_core.rl.rewards.base import Completion
from models_core.rl.rollout_logprobs import TOLERANCES, ZERO_TOLERANCE, LogprobComparison
from models_core.rl.rollout_server.ahead import AheadRequest, decoded, encoded
from models_core.rl.rollout_server.published_weights import PublishedWeights, WeightsFolder, check_method
from models_core.rl.rollout_server.vllm_client import RolloutServer, UnusableRollouts
from models_core.rl.trajectories import PerToken, RolloutLogprobs, group_by_prompt, pad_rows, per_token
from models_core.training import distributed, fsdp

CHECKED_RESPONSES = 8
"""Responses of an iteration whose log-probabilities are computed here and compared."""
LARGEST_DEVIATION = {0: 0.25, 1: 1.0}
"""By staleness: nats a token, root mean square, beyond which it was another policy that sampled. bf16 on both sides
comes to 0.06; one iteration's update, at an approx_kl of 0.05, to 0.3."""
LONGEST_WAIT = 32
"""Iterations until a server that keeps failing is asked again, at the most."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """`samples` responses to each of these prompts."""

    prompts: EncodedPrompts
    samples: int
    seed: int


@dataclass(frozen=True)
class Rollouts:
    """One iteration's completions, and what is made of a server's log-probabilities.

    `reused`: they stand in for a forward pass of the policy. `behaviour`, (batch, tokens): the policy's are others, and
    each token's loss is weighted by how much likelier the policy makes it than the server did.
    """

    completions: list[Completion]
    is_served: bool = False
    reused: RolloutLogprobs | None = None
    behaviour: PerToken | None = None
    metrics: dict[str, float] = field(default_factory=dict)


class RolloutSampler:
    """Gives each iteration its rollouts. `failures` in a row, and `next_try`, the iteration that asks again."""

    def __init__(
        self,
        actor_critic: ActorCritic,
        prompts: EncodedPrompts,
        plan: Sequence[Sequence[int]],
        *,
        run: Path,
        stop: StopSignal,
    ) -> None:
        """`plan`: the prompts' numbers of each iteration; `run`: the run folder. Raises BadInput."""
        self.actor_critic, self.prompts, self.plan, self.stop = actor_critic, prompts, plan, stop
        self.settings = settings = actor_critic.settings
        if settings.rollouts_ahead and not settings.rollout_server:
            raise BadInput("rollouts_ahead=1 has a server sample while training goes on: give rollout_server too.")
        check_method(settings)
        if settings.rollout_server:
            RolloutServer(settings, stop=stop)  # an address that cannot be one is refused now
        self.is_served = bool(settings.rollout_server)
        self.folder = WeightsFolder(run, seen_as=settings.rollout_server_folder)
        dtype = embedding(actor_critic.policy).dtype
        self.tolerance = TOLERANCES.get(dtype, ZERO_TOLERANCE)
        self.failures, self.next_try = 0, 1
        self.served_iterations, self.note, self.are_reused = 0, "", False
        self._loaded = ""  # the adapter that the server samples from
        self._ahead: AheadRequest | None = None
        self._arrived: tuple[int, list[list[Sample]]] | None = None  # an iteration, and its samples

    # ---- an iteration ------------------------------------------------------------------------------------------------

    def rollouts(self, step: int) -> Rollouts:
        """The rollouts of iteration `step` (from 1). Raises Stopped."""
        if self.is_served:
            arrived, self._arrived = self._arrived, None
            if arrived is not None and arrived[0] == step:
                found = self._checked(arrived[1], step=step, staleness=1)
            elif step >= self.next_try:
                found = self._served_now(step)
            else:
                found = None
            if found is not None:
                return found
        completions = rollouts.sample_rollouts(
            self.actor_critic, self.prompts, self.plan[step - 1], seed=self._seed(step), stop=self.stop
        )
        return Rollouts(completions, metrics={"served_rollouts": 0.0} if self.is_served else {})

    def begin_next(self, step: int) -> None:
        """Have the server sample iteration `step` by the weights of now, while this process goes on.

        Nothing to do without rollouts_ahead=1, after the last iteration, and while the server is left alone.
        """
        if not (self.is_served and self.settings.rollouts_ahead) or step > len(self.plan) or step < self.next_try:
            return
        weights = self._published(step - 2)
        self._ahead = AheadRequest(step, partial(self.ask, self._request(step), weights), stop=self.stop)

    def collect(self) -> None:
        """Wait for the rollouts that `begin_next` has had sampled, so that a checkpoint holds them. Raises Stopped."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        try:
            self._arrived = (ahead.step, self._shared_outcome(ahead.result()))
        except UnusableRollouts as error:
            self._failed(str(error), step=ahead.step)

    # ---- an evaluation -----------------------------------------------------------------------------------------------

    def evaluation(self, prompts: EncodedPrompts, *, step: int, seed: int) -> list[Completion]:
        """One completion of the policy as it is now, after `step` iterations, for each prompt. Raises Stopped.

        A server that is left alone is not asked for these either; whether it can do it, iterations find out.
        """
        if self.is_served and step + 1 >= self.next_try:
            request = Request(prompts=prompts, samples=1, seed=seed)
            try:
                samples = self._shared_outcome(self.ask(request, self._published(step), self.stop))
                completions = self._completions(request, samples)
                self._compare(completions, staleness=0)
                return completions
            except UnusableRollouts as error:
                self.note = f"{error} The evaluation after iteration {step} was sampled in this process."
                processes.log_main(self.note)
        return rollouts.sample_policy(self.actor_critic, prompts, seed=seed, stop=self.stop)

    def close(self) -> None:
        """Part from the server: what it still samples is of no use, and the adapter of none to others."""
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    def finish(self) -> dict[str, Any]:
        """After the last iteration: remove the published weights; the metrics of result.json."""
        if not self.is_served:
            return {}
        if processes.is_main():
            self._unload(self._loaded)
            self.folder.remove()
        found = {"served_iterations": self.served_iterations, "rollout_server_note": self.note or None}
        return found | ({"sampler_log_probs": "reused"} if self.are_reused else {})

    # ---- asking ------------------------------------------------------------------------------------------------------

    def _served_now(self, step: int) -> Rollouts | None:
        try:
            samples = self._shared_outcome(self.ask(self._request(step), self._published(step - 1), self.stop))
        except UnusableRollouts as error:
            self._failed(str(error), step=step)
            return None
        return self._checked(samples, step=step, staleness=0)

    def _request(self, step: int) -> Request:
        """What iteration `step` asks for."""
        rows = self.plan[step - 1]
        prompts = EncodedPrompts(
            prompts=[self.prompts.prompts[row] for row in rows], ids=[self.prompts.ids[row] for row in rows], counts={}
        )
        return Request(prompts=prompts, samples=self.settings.group_size, seed=self._seed(step))

    def _published(self, step: int) -> PublishedWeights | str:
        """The weights after `step` iterations for the server, or why they cannot be written; the first process's."""
        with fsdp.gathered(self.actor_critic.policy, for_saving=True):
            if not processes.is_main():
                return ""
            try:
                return self.folder.publish(self.actor_critic, step=step)
            except OSError as error:
                return f"The weights cannot be written for the rollout server ({error.strerror})."

    def ask(self, request: Request, weights: PublishedWeights | str, stop: StopSignal) -> dict[str, Any]:
        """Load the weights and sample: {"samples": ...}, {"error": a sentence} or {"stopped": True}."""
        if isinstance(weights, str) or not processes.is_main():
            return {"error": weights}
        server = RolloutServer(self.settings, stop=stop)
        try:
            model = server.load(weights)
            previous, self._loaded = self._loaded, model if weights.is_adapter else ""
            if previous and previous != model:
                self._unload(previous)
            samples = server.sample(
                model,
                request.prompts.ids,
                samples=request.samples,
                stop_ids=self.actor_critic.stop_ids,
                vocabulary=len(embedding(self.actor_critic.policy)),
                seed=request.seed,
            )
        except Stopped:
            return {"error": "The rollouts were stopped."} if stop.waits_for_step else {"stopped": True}
        except (ServerFailed, BadInput) as error:
            return {"error": str(error)}
        return {"samples": encoded(samples)}

    def _unload(self, name: str) -> None:
        if name:
            try:
                RolloutServer(self.settings, stop=StopSignal()).unload(name)
            except (ServerFailed, BadInput, Stopped):
                return  # it may be gone, and its memory with it

    def _shared_outcome(self, outcome: Mapping[str, Any]) -> list[list[Sample]]:
        """What the first process was sent, in all of them. Raises UnusableRollouts where it failed, and Stopped."""
        outcome_of_main: dict[str, Any] = json.loads(distributed.broadcast(json.dumps(outcome)))
        if "stopped" in outcome_of_main:
            raise Stopped
        if "error" in outcome_of_main:
            raise UnusableRollouts(outcome_of_main["error"])
        return decoded(outcome_of_main["samples"])

    # ---- checking ----------------------------------------------------------------------------------------------------

    def _checked(self, samples: Sequence[Sequence[Sample]], *, step: int, staleness: int) -> Rollouts | None:
        """Rollouts of the server with what is made of their log-probabilities; None where others sampled them."""
        completions = self._completions(self._request(step), samples)
        try:
            comparison = self._compare(completions, staleness=staleness)
        except UnusableRollouts as error:
            self._failed(str(error), step=step)
            return None
        if self.failures:
            processes.log_main(f"The server {self.settings.rollout_server} samples again, from iteration {step} on.")
        self.failures, self.next_try = 0, step
        self.served_iterations += 1
        is_equal = staleness == 0 and comparison.is_within(self.tolerance)
        # A value head on the policy's trunk needs the forward pass anyway.
        self.are_reused = is_equal and self.settings.sampler_log_probs == "auto" and not self.actor_critic.shares_trunk
        noted = pad_rows([item.log_probs for item in completions], device=self.actor_critic.device)
        return Rollouts(
            completions,
            is_served=True,
            reused=RolloutLogprobs(noted, torch.zeros_like(noted)) if self.are_reused else None,
            behaviour=None if is_equal else noted,
            metrics=comparison.metrics | {"served_rollouts": 1.0, "rollout_staleness": float(staleness)},
        )

    def _compare(self, completions: Sequence[Completion], *, staleness: int) -> LogprobComparison:
        """A forward pass of the policy over a few of the responses, evenly chosen, against what the server noted.

        Raises UnusableRollouts where they are so far apart that others sampled them.
        """
        count = min(CHECKED_RESPONSES, len(completions))
        chosen = [completions[place * len(completions) // count] for place in range(count)]
        groups = group_by_prompt([item.group for item in chosen], budget=self.settings.max_tokens_per_forward)
        (computed,) = per_token(
            groups, lambda packed: [self.actor_critic.log_probs(packed)], actor_critic=self.actor_critic
        )
        noted = pad_rows([item.log_probs for item in chosen], device=computed.device)
        lengths = torch.tensor([len(item.ids) for item in chosen], device=computed.device)
        mask = torch.arange(noted.shape[1], device=computed.device)[None, :] < lengths[:, None]
        comparison = LogprobComparison()
        comparison.add(log_probs=computed[mask], rollout_log_probs=noted[mask], values=None, rollout_values=noted[mask])
        deviation = comparison.log_probs.deviation
        if not deviation <= LARGEST_DEVIATION[staleness]:  # NaN is beyond every bound
            raise UnusableRollouts(
                f"The server {self.settings.rollout_server} samples from other weights than it was given: its "
                f"log-probabilities are {deviation:.2g} nats a token from the policy's."
            )
        return comparison

    def _failed(self, reason: str, *, step: int) -> None:
        self.failures += 1
        self.next_try = step + min(2 ** (self.failures - 1), LONGEST_WAIT)
        self.note = f"{reason} Iteration {step} was sampled in this process."
        processes.log_main(f"{self.note} The server is asked again for iteration {self.next_try}.")

    # ---- completions and checkpoints ---------------------------------------------------------------------------------

    def _seed(self, step: int) -> int:
        return self.settings.seed * 2**32 + step

    def _completions(self, request: Request, samples: Sequence[Sequence[Sample]]) -> list[Completion]:
        return [
            Completion(
                prompt=prompt,
                prompt_ids=ids,
                ids=sample.ids,
                text=chat.decode_response(self.actor_critic.tokenizer, sample.ids),
                ended=sample.finish_reason == "stop",
                log_probs=sample.logprobs,
            )
            for prompt, ids, own in zip(request.prompts.prompts, request.prompts.ids, samples, strict=True)
            for sample in own
        ]

    def state_dict(self) -> dict[str, Any]:
        """{} without a server. Rollouts that have arrived are part of it: a resumed run trains on the same ones."""
        if not self.is_served:
            return {}
        arrived = None if self._arrived is None else [self._arrived[0], encoded(self._arrived[1])]
        return {
            "failures": self.failures,
            "next_try": self.next_try,
            "served_iterations": self.served_iterations,
            "note": self.note,
            "arrived": arrived,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if not state or not self.is_served:
            return
        self.failures, self.next_try = state["failures"], state["next_try"]
        self.served_iterations, self.note = state["served_iterations"], state["note"]
        arrived = state["arrived"]
        self._arrived = None if arrived is None else (arrived[0], decoded(arrived[1]))
