"""Push a model folder to a Hub by its own client, or the LoRA adapter that was merged into it, as peft reads it.

The token comes from an environment variable, by its name.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from httpx2 import HTTPError
from huggingface_hub import CommitOperationAdd, HfApi

from models_core.contract import atomic_write, catalogue
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.modeling import loading
from models_core.modeling.adapters import peft_folder, storage
from models_core.modeling.tokenizer_files import first_line

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
TOKEN_VARIABLE = re.compile(r"HF_[A-Z0-9_]{1,60}")
"""A token of the Hub is sent to the Hub: no other secret of the machine can be named."""
CARD = "README.md"
TOKENIZER_FILES = ("tokenizer", "special_tokens_map", "added_tokens", "chat_template", "vocab", "merges")
"""How the names of a tokenizer's files begin."""
REFUSALS = {
    401: "the Hub does not know the token in {variable}.",
    403: "the token in {variable} may not write there.",
    404: "the Hub has no such place, or the token in {variable} may not see it.",
}


def run(
    *,
    model: str,
    repository: str,
    token_variable: str,
    private: bool,
    card: Path | None,
    adapter_of: str = "",
    out: Path,
    stop: StopSignal,
) -> dict[str, Any]:
    """Make the repository where there is none, and commit all files of the model. Raises BadInput, Stopped.

    `adapter_of`: the base model on a Hub of which the adapter alone is pushed.
    """
    for name in filter(None, (repository, adapter_of)):
        if not REPOSITORY.fullmatch(name):
            raise BadInput(f"{name!r} names no repository; it is OWNER/NAME.")
    if not TOKEN_VARIABLE.fullmatch(token_variable):
        raise BadInput(f"The token's environment variable must begin with HF_, not be {token_variable!r}.")
    token = os.environ.get(token_variable, "").strip()
    if not token:
        raise BadInput(f"The environment variable {token_variable} is not set for this worker: it must hold the token.")
    source = Path(loading.locate(model))
    if not catalogue.is_hub_reachable():
        raise BadInput(f"{repository} can't be pushed: the Hub cannot be reached.")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)
    files = _adapter_files(source, card, base=adapter_of) if adapter_of else _files(source, card)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        if stop.requested:
            raise Stopped("The push was stopped before anything was sent.")
        commit = api.create_commit(
            repository,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files],
            commit_message=f"Push {source.parent.parent.name or source.name} from Hone",
        )
    except HTTPError as error:  # a refusal of the Hub, or of the network
        raise BadInput(f"{repository} can't be pushed: {_reason(error, token_variable)}") from None
    except KeyError as error:
        raise BadInput(f"{repository} can't be pushed: the Hub's reply lacks {error}.") from None
    except (AttributeError, TypeError):
        raise BadInput(f"{repository} can't be pushed: the Hub's reply can't be read.") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{repository} can't be pushed: {_without(token, first_line(error))}") from None
    result = {"repository": repository, "revision": commit.oid, "url": commit.commit_url, "files": len(files)}
    atomic_write.write_json(out, result)
    return result


def _adapter_files(source: Path, card: Path | None, *, base: str) -> list[tuple[str, Path | bytes]]:
    """peft's folder with the base model's name in its configuration and its card, and the tokenizer's files."""
    folder = peft_folder.folder_of(source)
    try:
        config = json.loads((folder / peft_folder.CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BadInput(
            f"There is no LoRA adapter beside {source} ({folder.name}/): it is kept of language models trained with "
            "method=lora or qlora."
        ) from None
    text = json.dumps(config | {"base_model_name_or_path": base}, indent=2) + "\n"
    about = card.read_text(encoding="utf-8") if card is not None else f"# An adapter of {base}\n"
    found: list[tuple[str, Path | bytes]] = [
        (CARD, f"---\nbase_model: {base}\nlibrary_name: peft\n---\n\n{about}".encode()),
        (peft_folder.CONFIG, text.encode()),
        (peft_folder.WEIGHTS, folder / peft_folder.WEIGHTS),
    ]
    of_tokenizer = [path for path in sorted(source.iterdir()) if path.name.startswith(TOKENIZER_FILES)]
    return found + [(path.name, path) for path in of_tokenizer if path.is_file() and not path.is_symlink()]


def _files(source: Path, card: Path | None) -> list[tuple[str, Path | bytes]]:
    """(name in the repository, file): an adapter in its folder, for which the configuration is changed by nobody."""
    found: list[tuple[str, Path | bytes]] = [
        (path.name, path) for path in sorted(source.iterdir()) if path.is_file() and not path.is_symlink()
    ]
    adapter = storage.folder_of(source)
    if any(source.glob(f"*.{storage.BASE}*")) and adapter.is_dir():
        raise BadInput(
            "A model with an adapter beside its weights can't be pushed: only Hone puts the two together. Train with "
            "method=lora, ia3 or full."
        )
    if card is not None:
        found = [(name, path) for name, path in found if name != CARD] + [(CARD, card)]
    return found


def _reason(error: HTTPError, variable: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in REFUSALS:
        return REFUSALS[status].format(variable=variable)
    return f"the Hub replied with status {status}." if status else "the Hub broke the connection off."


def _without(token: str, text: str) -> str:
    return text.replace(token, "***")
