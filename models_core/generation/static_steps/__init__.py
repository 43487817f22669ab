"""Sampling by steps of fixed shapes over fixed buffers, so that a GPU replays a step as one CUDA graph.

A decode step of a small model is hundreds of kernels of a few microseconds each: launched one by one, the processor is
what takes the time. A CUDA graph of them is launched at once, but it computes the same shapes at the same addresses
every time, and nothing in it may be read back by the host. So rows are rounded up to a bucket, their keys and values
have one place for the whole run, and the host looks only now and then which rows have ended.

stretches.py     the sampling loop: a stretch of steps, then a look; where it applies, and where it does not
static_rows.py   the buffers, and the step that is computed over them
static_cache.py  keys and values of one layer
buckets.py       how many rows and slots a step computes
kept_rows.py     buffers and graphs that the next call has
step_runner.py   computes a step: eagerly, or as a CUDA graph
"""
