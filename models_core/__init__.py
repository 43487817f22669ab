"""Training and sampling of language models from human feedback: PyTorch, transformers and peft, no web framework.

Importing this package, `models_core.contract.settings` and `models_core.contract.records` loads the standard library
alone, so that a web process can read settings and data files without torch.
"""
