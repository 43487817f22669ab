"""What the name of a reward source stands for. Without torch: the pages' side asks it what it must refuse."""

import re
from enum import StrEnum
from pathlib import Path

from models_core.contract.errors import BadInput

FUNCTION = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*)")


def is_address(name: str) -> bool:
    """Whether a name is the address of a server that speaks OpenAI's protocol."""
    return name.startswith(("http://", "https://"))


class Kind(StrEnum):
    """Kinds of reward sources."""

    MODELS = "models"
    FUNCTION = "function"
    JUDGE = "judge"


def kind_of(name: str) -> Kind:
    """What `--reward NAME` names; the first that holds counts. Raises BadInput for a mixture of kinds.

    1. What lies on disk under this very name is a reward model, whatever its name looks like.
    2. http:// or https:// begins the address of a judge.
    3. package.module:function is a function.
    4. All else names reward models: a folder, a name of the catalogue or a Hub id, or several parted by commas.
    """
    if Path(name).exists():
        return Kind.MODELS
    if is_address(name):
        return Kind.JUDGE
    if FUNCTION.fullmatch(name):
        return Kind.FUNCTION
    for part in (part.strip() for part in name.split(",")):
        if part != name and kind_of(part) != Kind.MODELS:
            raise BadInput(f"--reward takes several reward models, or one judge or function alone: {part} is no model.")
    return Kind.MODELS
