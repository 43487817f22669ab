"""The bootstrap of an ensemble's heads: each head learns from its own resample of the prompts.

Heads on one trunk that learn from the same pairs come to agree almost everywhere, also where all are wrong. So each
learns from a prompt as often as a Poisson(1) draw says: the online bootstrap (Oza and Russell 2001). Prompts are
resampled and not pairs, since the pairs of a prompt are not independent.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import torch

from models_core.modeling.devices import to_device
from models_core.preferences.ranking_loss import PairBatch, RankedPairs

EXP_MINUS_ONE = math.exp(-1)


def poisson_counts(prompt: Sequence[int], *, num_heads: int, seed: int) -> list[int]:
    """Poisson(1) count of each head for a prompt (token ids), a function of the seed and the prompt's tokens alone.

    So the counts do not depend on the order of rows, minibatches, processes or epochs, nor on a resume.
    """
    generator = random.Random(f"{seed}/{','.join(map(str, prompt))}")
    return [_poisson(generator) for _ in range(num_heads)]


def _poisson(generator: random.Random) -> int:
    """Knuth's method: the number of uniform factors before their product falls below exp(-1)."""
    count, product = 0, generator.random()
    while product > EXP_MINUS_ONE:
        count += 1
        product *= generator.random()
    return count


def bootstrap_weights(
    pairs: PairBatch, groups: Sequence[Sequence[RankedPairs]], counts: Sequence[Sequence[int]]
) -> PairBatch:
    """The pairs of `groups` with a row of weights for each head: weight (pairs,) -> (heads, pairs).

    `counts`: (groups, heads). The loss of an ensemble is the mean over its heads.
    """
    sizes = torch.tensor([sum(len(ranking.pairs) for ranking in rankings) for rankings in groups])
    by_group = torch.tensor(counts, dtype=pairs.weight.dtype)
    factors = by_group.repeat_interleave(sizes, dim=0, output_size=len(pairs.target))
    return replace(pairs, weight=pairs.weight * to_device(factors.T, pairs.weight.device))
