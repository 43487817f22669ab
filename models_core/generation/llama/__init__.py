"""The fast forward of Llama-shaped models (Llama, Mistral, Qwen2, Qwen3), for decoding alone.

decoder_layers.py  the layer sequence, and the steps that it is made of
torch_steps.py     its steps by PyTorch; attention is that of the cache that a decode step is given
packed_linear.py   linear steps, plain or over weights in oneDNN's order
direct_models.py   which models are of this shape, and where their weights are

`models_core.cpu_kernels.decoding` has the same steps by compiled kernels.
"""
