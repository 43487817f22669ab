"""Training and sampling of language models from human feedback: PyTorch, transformers and peft, no web framework.

Importing this package and those of `models_core.contract` loads the standard library alone, so that a web process can
read settings and data files without torch.
"""

import logging

# peft imports bitsandbytes where it is installed, which then names a package on standard error that a CPU does without.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
