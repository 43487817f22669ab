"""Models, tokenizers and their forward passes."""
