"""The only module of the contract that uses packages outside the standard library, each imported when it is called.

A process that calls nothing here, as the web process, loads none of them; `regex` alone is small enough for it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def compile_pattern(pattern: str) -> Any:
    """A compiled pattern of `regex`, whose searches take a timeout. Raises ValueError with the parser's reason."""
    import regex

    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(str(error)) from None


def download_snapshot(hub_id: str, target: Path, *, patterns: Sequence[str]) -> bool:
    """Download the matching files of a Hub repository; False, and no folder, where the download fails."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        snapshot_download(hub_id, local_dir=target, allow_patterns=list(patterns))
    except (OSError, ValueError, HfHubHTTPError):
        shutil.rmtree(target, ignore_errors=True)
        return False
    shutil.rmtree(target / ".cache", ignore_errors=True)
    return True


def convert_gguf(gguf: Path, target: Path) -> None:
    """Convert a GGUF file to a folder in Hugging Face format, in bf16.

    transformers refuses to save a model loaded from GGUF, so its weights are copied into a new one.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder, file = str(gguf.parent), gguf.name
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, gguf_file=file), dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, gguf_file=file).save_pretrained(target)
