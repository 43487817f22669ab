"""Settings of pretraining."""

from dataclasses import dataclass

from models_core.contract.settings.base import MAX_STEPS, documents_setting, epochs_setting, held_out_setting, setting
from models_core.contract.settings.training import TrainingSettings, save_every_setting, weight_decay_setting


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingSettings):
    """Next-token pretraining on plain text: a new tokenizer and decoder, or continued training of a base model."""

    max_length: int = setting(
        512, "Sequence length in tokens, and the context length of a new model.", minimum=8, maximum=131_072
    )
    tokenizer: str = setting("bpe", "Algorithm of a new tokenizer.", choices=("bpe", "wordpiece", "unigram"))
    vocab_size: int = setting(3072, "Vocabulary size of a new tokenizer.", minimum=261, maximum=1_000_000)
    architecture: str = setting("llama", "Architecture of a new model.", choices=("llama", "gpt2"))
    size: str = setting(
        "5m", "Size of a new model by its number of parameters.", choices=("1m", "5m", "15m", "40m", "100m")
    )
    layers: int = setting(0, "Number of layers of a new model; 0 uses the size's.", minimum=0, maximum=1000)
    width: int = setting(0, "Hidden size of a new model; 0 uses the size's.", minimum=0, maximum=65_536)
    heads: int = setting(0, "Number of attention heads of a new model; 0 uses the size's.", minimum=0, maximum=1024)
    dropout: float = setting(
        0.1, "Dropout probability in training; unnecessary for a single epoch.", minimum=0.0, maximum=0.9
    )
    documents: str = documents_setting()
    overlap: float = setting(
        0.125,
        "Fraction of a sequence repeated at the start of the next, for documents longer than max_length.",
        minimum=0.0,
        maximum=0.9,
    )
    held_out: float = held_out_setting("documents")
    epochs: int = epochs_setting(6)
    batch_size: int = setting(4, "Sequences of max_length tokens per step.", minimum=1, maximum=65_536)
    learning_rate: float = setting(
        0.0, "Peak learning rate; 0 selects 6e-3 for a new model, 1e-4 for a base model.", minimum=0.0, maximum=1.0
    )
    optimizer: str = setting(
        "auto",
        "Optimizer of the layers' weight matrices; auto selects muon for a new model that fsdp does not shard.",
        choices=("auto", "muon", "adamw"),
    )
    min_lr_ratio: float = setting(
        0.05, "Final learning rate of the cosine schedule as a fraction of the peak.", minimum=0.0, maximum=1.0
    )
    weight_decay: float = weight_decay_setting(0.1)
    save_every: int = save_every_setting(200)
    eval_every: int = setting(
        200,
        "Steps between evaluations and samples of the model; 0 evaluates and samples at the end.",
        minimum=0,
        maximum=MAX_STEPS,
    )
    sample_tokens: int = setting(
        64, "Length of the samples drawn during training in tokens; 0 draws none.", minimum=0, maximum=4096
    )
    sample_temperature: float = setting(
        0.8, "Sampling temperature of the samples drawn during training.", minimum=0.0, maximum=100.0
    )
