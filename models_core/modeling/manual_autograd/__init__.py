"""Parts of a training step whose gradient is written out by hand, because autograd's costs several times as much.

attention.py    attention within segments of one long row
projections.py  linear layers of one input, with LoRA beside them
vocabulary.py   log-probabilities under the vocabulary's layer
norm.py         RMS normalisation
gate.py         the gated product inside an MLP
rotary.py       rotary positions
layers.py       puts them into a model of transformers, where its layers are of a known shape

Each equals the plain computation, in fp32 and fp64 to rounding; a model of another shape simply keeps its own.
"""
