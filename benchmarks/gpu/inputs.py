"""Models, a tokenizer and data, made on the spot from fixed seeds: no network, no weights of anybody's."""

import json
import random
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LETTERS = "abcdefghijklmnopqrstuvwxyz     "


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama's sizes; the embedding is the head too."""

    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    context: int
    deviation: float = 0.02

    @property
    def layer_parameters(self) -> int:
        """Of the matrices of all layers."""
        key_values = 2 * self.width * (self.width // self.heads) * self.key_heads
        return self.layers * (2 * self.width**2 + key_values + 3 * self.width * self.inner)

    @property
    def parameters(self) -> int:
        return self.layer_parameters + self.vocabulary * self.width

    @property
    def cached_numbers(self) -> int:
        """Keys and values of a token, in all layers."""
        return self.layers * 2 * self.key_heads * self.width // self.heads


LARGE = Shape(
    vocabulary=32_768, width=2048, inner=8192, layers=19, heads=32, key_heads=8, context=4096
)  # 1.22 billion parameters
TINY = Shape(
    vocabulary=512, width=64, inner=128, layers=2, heads=4, key_heads=2, context=2048, deviation=0.2
)  # for the comparisons with the CPU, and for all of --tiny; a GPU's kernel of attention takes heads of 16 and more


def make_tokenizer(vocabulary: int) -> Any:
    """Every byte is a token of a text; further ones, pairs and triples of bytes, come from a model alone."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    longer = ("".join(letters) for count in (2, 3) for letters in product(alphabet, repeat=count))
    names = [*SPECIAL, *alphabet, *islice(longer, vocabulary - len(SPECIAL) - len(alphabet))]
    tokenizer = Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[2],
        chat_template=TEMPLATE,
    )


def configured(shape: Shape, tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        max_position_embeddings=shape.context,
        initializer_range=shape.deviation,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def make_model(folder: Path, shape: Shape, *, device: str, dtype: torch.dtype) -> Path:
    """Write a random Llama with its tokenizer; returns the folder."""
    tokenizer = make_tokenizer(shape.vocabulary)
    torch.manual_seed(0)
    config = configured(shape, tokenizer)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(usual)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Writer:
    """Rows of random letters: a character is a token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.random = random.Random(0)

    def text(self, length: int) -> str:
        """No spaces around it, which readers of rows may strip."""
        return "x" + "".join(self.random.choices(LETTERS, k=length - 2)) + "x"

    def prompts(self, count: int, *, length: int) -> Path:
        return self._write("prompts", [self._row(number, length) for number in range(count)])

    def demonstrations(self, count: int, *, length: int, response: int) -> Path:
        return self._write(
            "demonstrations",
            [self._row(number, length) | {"response": self.text(response)} for number in range(count)],
        )

    def rankings(self, count: int, *, length: int, response: int, responses: int) -> Path:
        ranks = range(1, responses + 1)
        return self._write(
            f"rankings-{responses}",
            [
                self._row(number, length)
                | {"responses": [{"text": self.text(response), "rank": rank} for rank in ranks]}
                for number in range(count)
            ],
        )

    def corpus(self, documents: int, *, length: int) -> Path:
        path = self.folder / "corpus.txt"
        path.write_text("\n\n".join(self.text(length) for _ in range(documents)), encoding="utf-8")
        return path

    def _row(self, number: int, length: int) -> dict[str, Any]:
        return {"id": str(number), "prompt": [{"role": "user", "content": self.text(length)}]}

    def _write(self, name: str, rows: list[dict[str, Any]]) -> Path:
        path = self.folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path
