"""Decoding, the inside of `models_core.generation.generate`: caches, forward passes, draws, beams."""
