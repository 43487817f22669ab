"""Operators of a training step as compiled kernels that visit memory once, for bf16 on a processor (see compiler/).

norm_bf16.py        RMS normalisation, and the sum before it
rope_bf16.py        rotary positions
swiglu_bf16.py      the gated product inside an MLP
softmax_bf16.py     logits to the errors of cross-entropy
adamw_bf16.py       the norm of all gradients; AdamW over fp32 masters and their bf16 weights
attention_bf16/     attention within segments, where the processor multiplies vectors of bf16

Each has the signature of the plain operator that it replaces (models_core/modeling/operators.py), autograd included.
"""
