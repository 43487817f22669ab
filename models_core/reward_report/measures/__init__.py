"""Metrics of a reward model, one subject a module: pure functions of held-out judgments."""
