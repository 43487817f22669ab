"""Texts that want to be more than text, or keep a machine busy."""
