"""A Llama-shaped model's weights as the kernels read them, its working memory, and its forward pass.

Shapes: N tokens, D width, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from models_core.cpu_kernels.compiler.aligned_memory import aligned
from models_core.cpu_kernels.compiler.matmul_tile import ROWS, WIDTH
from models_core.cpu_kernels.compiler.thread_team import Call
from models_core.cpu_kernels.decoding import decoder_stack, lm_head_kernel, weight_panels
from models_core.cpu_kernels.decoding.layer_steps import CompiledWeights, StepTable
from models_core.cpu_kernels.decoding.paged_cache import Lists, Pages, Whole
from models_core.generation.llama import decoder_layers
from models_core.generation.llama.direct_models import plain

KERNELS = (weight_panels.reorder, decoder_stack.stack, lm_head_kernel.logits, lm_head_kernel.sample)
PROMPT_TOKENS = 256
"""Tokens of prompts computed at once: enough to keep the products busy, few enough for the processor's cache."""


class CompiledModel:
    """A model for which `eligibility.fits` is true; `rows` of it are in flight at the most."""

    def __init__(self, model: Any, *, rows: int, release: bool) -> None:
        """`release`: the model is not needed afterwards; it loses its weights on the way and is of no use then."""
        config, body = model.config, model.model
        attention = body.layers[0].self_attn
        self.query_heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        self.size, self.width, self.inner = attention.head_dim, config.hidden_size, config.intermediate_size
        self.vocabulary: int = model.lm_head.weight.shape[0]
        self.rotary = body.rotary_emb
        self.weights = weights = CompiledWeights()
        self.layers = [
            decoder_layers.read_layer(layer, index, weights, release=release) for index, layer in enumerate(body.layers)
        ]
        self.norm, self.head = weights.norm(body.norm), weights.linear([plain(model.lm_head)])
        self.norm_weight, self.epsilon = body.norm.weight.detach().float().clone(), float(body.norm.variance_epsilon)
        self.constants = weights.vector(torch.tensor([body.norm.variance_epsilon, attention.scaling]))
        if release:
            for parameter in model.parameters():  # on a copy: they lie in the file that was read
                parameter.data = parameter.data.clone()
        self.embedding: Tensor = body.embed_tokens.weight
        self.rows = rows
        tokens = max(PROMPT_TOKENS, rows)
        heads = self.query_heads + 2 * self.key_heads
        self.hidden = aligned(tokens * self.width, dtype=torch.float32).view(tokens, self.width)
        self.states = aligned(tokens * max(self.width, self.query_heads * self.size), dtype=torch.bfloat16)
        self.heads = aligned(tokens * heads * self.size, dtype=torch.float32)
        self.swiglu = aligned(tokens * self.inner, dtype=torch.bfloat16)
        table = StepTable(states=self.states, heads=self.heads, swiglu=self.swiglu, width=self.width)
        decoder_layers.forward(self.layers, self.hidden.data_ptr(), table)
        self.steps = table.steps()
        self.panels = -(-self.vocabulary // WIDTH)
        self.tops, self.exp_sums = (aligned(rows * self.panels, dtype=torch.float32) for _ in range(2))
        self.rope_tables: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))
        self.scratch = aligned(0, dtype=torch.float32)
        self.together = max(1, ROWS // (self.query_heads // self.key_heads))

    def reach(self, positions: int) -> None:
        """Make ready for so many positions."""
        if len(self.rope_tables[0]) < positions:
            cosines, sines = self.rotary(self.hidden, torch.arange(positions)[None])
            half = self.size // 2
            self.rope_tables = cosines[0, :, :half].contiguous(), sines[0, :, :half].contiguous()

    def forward(
        self,
        tokens: Tensor,
        *,
        store: Pages,
        lists: Lists,
        owners: Sequence[int],
        page_slots: tuple[Whole, Whole],
        seen: Whole,
    ) -> Tensor:
        """What the last norm takes, for every token: [N] -> fp32 [N, D], a view that the next call overwrites.

        owners: the list of each token, where the tokens of one list are neighbours; page_slots: the page and the slot
        it is written to; seen: how many positions it sees, itself included, which is its position and one.
        """
        count = len(tokens)
        hidden = self.hidden[:count]
        hidden.copy_(torch.nn.functional.embedding(tokens, self.embedding))
        items = numpy.array(_items(owners, most=self.together), dtype=numpy.int64)
        pages, slots = (numpy.ascontiguousarray(part) for part in page_slots)
        positions = seen - 1
        scratch = self._scratch(pages=int(lists.used.max()))
        arrays = [positions, seen, pages, slots, items, lists.pages, lists.counts]
        at = [array.ctypes.data for array in arrays]
        Call(
            decoder_stack.stack,
            [
                self.steps.ctypes.data, len(self.steps), self.query_heads, self.key_heads, self.size, self.constants,
                *(table.data_ptr() for table in self.rope_tables), count,
                store.memory.data_ptr(), store.memory[0].nbytes, self.states.data_ptr(), self.heads.data_ptr(),
                *at[:5], len(items), *at[5:], lists.pages.shape[1], self.scratch.data_ptr(), scratch,
            ],
        ).run()  # fmt: skip
        return hidden

    def normalised(self, hidden: Tensor) -> Tensor:
        """What the head reads, before it is rounded to bf16: fp32 [N, D] -> fp32 [N, D]."""
        return functional.rms_norm(hidden, self.norm_weight.shape, self.norm_weight, self.epsilon)

    def logits(self, hidden: Tensor) -> Tensor:
        """fp32 [N, D] -> fp32 [N, V]."""
        out = torch.empty(len(hidden), self.vocabulary)
        self._vocabulary(lm_head_kernel.logits, hidden, logits=out.data_ptr()).run()
        return out

    def sample(self, hidden: Tensor, uniforms: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
        """As `token_sampling.sample_tokens`: hidden [N, D], uniforms [N] -> tokens and logprobs [N]; N <= `rows`."""
        tokens, logprobs = torch.empty(len(hidden), dtype=torch.long), torch.empty(len(hidden), dtype=torch.float64)
        inv_temperature = torch.tensor([1 / temperature if temperature else 0.0])
        uniforms = uniforms.double().contiguous()
        self._vocabulary(
            lm_head_kernel.sample, hidden,
            tops=self.tops.data_ptr(), exp_sums=self.exp_sums.data_ptr(), uniforms=uniforms.data_ptr(),
            inv_temperature=inv_temperature.data_ptr(), sampled=tokens.data_ptr(), logprobs=logprobs.data_ptr(),
        ).run()  # fmt: skip
        return tokens, logprobs

    def _vocabulary(self, kernel: Any, hidden: Tensor, **addresses: int) -> Call:
        assert hidden.is_contiguous()
        common = {
            "tokens": len(hidden), "width": self.width, "vocabulary": self.vocabulary, "hidden": hidden.data_ptr(),
            "weight": self.norm, "epsilon": self.constants, "states": self.states.data_ptr(),
            "panels": self.head.address, "bias": self.head.bias,
            "scratch_bytes": self._scratch(pages=1), "scratch": self.scratch.data_ptr(),
        }  # fmt: skip
        given = common | addresses
        assert given.keys() <= set(lm_head_kernel.ARGUMENTS)
        return Call(kernel, [given.get(name, 0) for name in lm_head_kernel.ARGUMENTS])

    def _scratch(self, *, pages: int) -> int:
        """Bytes of each thread's working memory, which is there afterwards."""
        rows = max(ROWS, self.query_heads // self.key_heads)
        needed = decoder_stack.scratch_bytes(rows=rows, size=self.size, pages=pages)
        threads = torch.get_num_threads()
        if self.scratch.nbytes < needed * threads:
            self.scratch = aligned(2 * needed * threads // 4, dtype=torch.float32)
        return needed


def _items(owners: Sequence[int], *, most: int) -> list[tuple[int, int, int]]:
    """(first token, how many, list) of runs of at most `most` tokens of one list."""
    items = []
    start = 0
    for place in range(1, len(owners) + 1):
        if place == len(owners) or owners[place] != owners[start] or place - start == most:
            items.append((start, place - start, owners[start]))
            start = place
    return items
