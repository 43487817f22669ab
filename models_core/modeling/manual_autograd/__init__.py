"""Parts of a training step whose gradient is written out by hand, because autograd's costs several times as much.

segment_attention.py  attention within segments of one long row
fused_projections.py  linear layers of one input, with LoRA beside them
lm_head.py            log-probabilities under the vocabulary's layer
rms_norm.py           RMS normalisation
swiglu.py             the gated product inside an MLP
rope.py               rotary positions
install.py            puts them into a model of transformers, where its layers are of a known shape

Each equals the plain computation, in fp32 and fp64 to rounding; a model of another shape simply keeps its own.
"""
