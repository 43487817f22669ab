"""Decoding, the inside of `models_core.rollout`: caches, forward passes, draws, beams."""
