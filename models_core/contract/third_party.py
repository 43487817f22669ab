"""The only module of the contract that uses packages outside the standard library, each imported when it is called.

A process that calls nothing here, as the web process, loads none of them; `regex` alone is small enough for it.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
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
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(hub_id, local_dir=target, allow_patterns=list(patterns))
    except (OSError, ValueError, HTTPError, KeyError, TypeError, AttributeError):  # also for a reply of another shape
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


class _TensorBoard:
    def __init__(self, folder: Path, *, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What an attempt before wrote of these steps is hidden: a resumed run writes them again.
        self._writer: Any = SummaryWriter(str(folder), purge_step=first_step or None, flush_secs=10)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, status: str) -> None:
        self._writer.close()


def tensorboard_client(folder: Path, *, first_step: int) -> _TensorBoard:
    """Event files in a folder. Raises ImportError without the package tensorboard."""
    return _TensorBoard(folder, first_step=first_step)


class _WandB:
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        # Its own step only grows, and several metrics of a step come in several calls.
        self._run.log({**values, "step": step})

    def close(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "succeeded" else 1)


def wandb_client(folder: Path, *, identity: str, title: str, config: Mapping[str, Any]) -> _WandB:
    """A run of Weights & Biases, the same one where it is resumed. Raises ImportError, and what its client raises."""
    import wandb

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT") or "hone",
        id=identity,
        resume="allow",
        name=title,
        dir=str(folder),
        config=dict(config),
        settings=wandb.Settings(console="off", silent=True),
    )
    run.define_metric("*", step_metric="step")
    return _WandB(run)


class _MLflow:
    def __init__(self, client: Any, identity: str) -> None:
        self._client, self._identity = client, identity

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._identity, name, value, step=step)

    def close(self, status: str) -> None:
        self._client.set_terminated(self._identity, "FINISHED" if status == "succeeded" else "KILLED")


def mlflow_client(identity: str, *, title: str, config: Mapping[str, Any]) -> tuple[_MLflow, str]:
    """A run of MLflow and its number there: the one with this number, else a new one. Raises ImportError, and more."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    if identity:
        client.update_run(identity, status="RUNNING")
        return _MLflow(client, identity), identity
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "hone"
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment is not None else client.create_experiment(name)
    made: str = client.create_run(number, run_name=title).info.run_id
    for key, value in config.items():
        client.log_param(made, key, str(value)[:500])
    return _MLflow(client, made), made
