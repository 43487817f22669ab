"""The networks behind P-tuning and prefix tuning, as peft has them after the authors' own; they start at zero."""

from peft import PrefixEncoder, PrefixTuningConfig, PromptEncoder, PromptEncoderConfig
from torch import Tensor, nn

LSTM_WIDTH = 256
PROJECTION_WIDTH = 512


def lstm(table: Tensor) -> nn.Module:
    """[v] numbers of virtual tokens -> [v, width], by a bidirectional LSTM and two layers (2103.10385, section 3.2)."""
    count, width = table.shape
    encoder = PromptEncoder(
        PromptEncoderConfig(
            num_virtual_tokens=count,
            token_dim=width,
            num_transformer_submodules=1,
            encoder_reparameterization_type="LSTM",
            encoder_hidden_size=LSTM_WIDTH,
            encoder_dropout=0.0,
        )
    )
    for weight in encoder.mlp_head[-1].parameters():
        nn.init.zeros_(weight)
    made: nn.Module = encoder.to(table.device, table.dtype)
    return made


def projection(table: Tensor) -> nn.Module:
    """[v] numbers of virtual tokens -> [v, layers * 2 * key heads * size], by two layers (2101.00190, section 4.3)."""
    layers, _, heads, count, size = table.shape
    encoder = PrefixEncoder(
        PrefixTuningConfig(
            num_virtual_tokens=count,
            token_dim=heads * size,
            num_layers=layers,
            encoder_hidden_size=PROJECTION_WIDTH,
            prefix_projection=True,
            init_weights="zero",
        )
    )
    made: nn.Module = encoder.to(table.device, table.dtype)
    return made
