"""Beam search: the likeliest responses found by keeping the best beginnings, not by chance.

The rules are those of transformers' `generate(num_beams=...)`: at each step the best continuations of a prompt's beams
are ranked; those among the first `beams` that end are responses, scored by log-probability / length ** length_penalty,
the others go on. A prompt is done when its worst response scores above its best beam as it stands.

Shapes: P prompts, M beams, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models_core.contract.errors import Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.generation.decoder import Beams
from models_core.generation.token_sampling import repetition_penalised

NEVER = -1e9
"""The score of a beam that must not go on: low, and still a number."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A response with its score."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float


@dataclass(kw_only=True)
class _Search:
    """One prompt's responses, best first; at most `size`."""

    prompt: int
    size: int
    responses: list[Found] = field(default_factory=list)

    def add(self, found: Found) -> None:
        self.responses = sorted([*self.responses, found], key=lambda response: -response.score)[: self.size]

    def is_done(self, best_running: float) -> bool:
        return len(self.responses) == self.size and best_running <= self.responses[-1].score


def search(
    batch: Beams,
    *,
    beams: int,
    length_penalty: float,
    repetition_penalty: float,
    stop_ids: Sequence[int],
    max_new_tokens: int,
    stop: StopSignal | None,
) -> Iterator[tuple[int, list[Found]]]:
    """(prompt, responses, best first) as prompts are done. The batch holds `beams` rows per prompt, side by side."""
    device = batch.token_ids.device
    searches = [_Search(prompt=row_id.prompt, size=beams) for row_id in batch.row_ids[::beams]]
    ends = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
    logits = batch.logits
    wide = torch.promote_types(logits.dtype, torch.float32)
    scores = torch.full((len(searches), beams), NEVER, dtype=wide, device=device)
    scores[:, 0] = 0.0  # all beams of a prompt are the same at first: only one may go on
    ids = torch.zeros(len(batch), 0, dtype=torch.long, device=device)
    logprobs = torch.zeros(len(batch), 0, dtype=wide, device=device)
    for length in range(1, max_new_tokens + 1):
        if stop is not None and stop.requested:
            raise Stopped
        next_logprobs = repetition_penalised(
            logits.to(wide).log_softmax(dim=-1), batch.token_ids, penalty=repetition_penalty
        )
        vocabulary = next_logprobs.shape[1]
        totals = (next_logprobs.view(len(searches), beams, -1) + scores[:, :, None]).flatten(1)
        # Enough of them that `beams` can go on even if every beam ends in every way it can.
        best = totals.topk(min(max(2, 1 + len(stop_ids)) * beams, totals.shape[1]), dim=-1)
        source = best.indices // vocabulary + beams * torch.arange(len(searches), device=device)[:, None]
        tokens = best.indices % vocabulary
        over = torch.isin(tokens, ends) if length < max_new_tokens else torch.ones_like(tokens, dtype=torch.bool)
        for number, slot in over[:, :beams].nonzero().tolist():
            row, token = int(source[number, slot]), int(tokens[number, slot])
            searches[number].add(
                Found(
                    ids=(*ids[row].tolist(), token),
                    logprobs=(*logprobs[row].tolist(), next_logprobs[row, token].item()),
                    score=best.values[number, slot].item() / length**length_penalty,
                )
            )
        running = best.values.masked_fill(over, NEVER).topk(beams, dim=-1)
        leading = (running.values[:, 0] / length**length_penalty).tolist()
        is_done = [length == max_new_tokens or one.is_done(lead) for one, lead in zip(searches, leading, strict=True)]
        for one, done in zip(searches, is_done, strict=True):
            if done:
                yield one.prompt, one.responses
        going_on = [number for number, done in enumerate(is_done) if not done]
        if not going_on:
            return
        searches = [searches[number] for number in going_on]
        scores, chosen = running.values[going_on], running.indices[going_on]
        rows, tokens = _flat(source[going_on], chosen), _flat(tokens[going_on], chosen)
        ids = torch.cat((ids[rows], tokens[:, None]), dim=1)
        logprobs = torch.cat((logprobs[rows], next_logprobs[rows, tokens][:, None]), dim=1)
        batch.reindex(rows)
        batch.advance(tokens)
        logits = batch.logits


def _flat(candidates: Tensor, chosen: Tensor) -> Tensor:
    """The chosen ones of each prompt's candidates, end to end: [P, candidates], [P, M] -> [P * M]."""
    return candidates.gather(1, chosen).flatten()
