"""Decoding a Llama-shaped model in bf16 by compiled kernels: every layer of a step in one call, without PyTorch.

backend.py         the decoder operator
eligibility.py     which models the kernels know
model_weights.py   a model's weights and working memory, and its forward pass
weight_panels.py   weight matrices in the order in which the kernels read them
layer_steps.py     the steps of `generation.llama.decoder_layers`, noted down for the kernel
decoder_stack.py   the kernel: all steps of a forward pass, for one new token a row or for whole prompts
lm_head_kernel.py  the kernels of the last layer: logits, or tokens sampled without writing logits down
paged_cache.py     keys and values in pages that rows share
paged_batch.py     rows in flight

A row's numbers come out the same to the bit whatever else is computed beside it, on any number of threads: every sum is
taken in an order that depends on the row alone.
"""
