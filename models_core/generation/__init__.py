"""Batched decoding behind `models_core.generation.generate`: caches, forward passes, token sampling, beams."""
