"""The layout of the packages: few modules at the top, one meaning per module name, a contract that imports nothing."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from models_core.contract.settings import STAGES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("annotate", "config", "hone_client", "rlhf", "models_core")
MOST_MODULES = 8

_LAYERS = "one subject, in Django's layers: models, forms, views and what they call"
_SETTINGS = "a stage or folder, and the settings that it takes"
_COMMAND = "the command line's module of a command, and what it runs"
A_MODULE_EACH = {
    "models_core/cli/commands": "command",
    "models_core/contract/settings": "stage, and what stages share",
    "rlhf/runs/stages": "stage",
}
"""Folders in which one knows the file by the name of what one looks for."""
FINE_ROOMS = ("config", "models_core/contract", "annotate/formats", "annotate/models", "rlhf/runs")
"""Where each folder below holds few modules too."""
SAME_SUBJECT: dict[str, dict[str, str]] = {
    "config": {
        **dict.fromkeys(["backup", "restore"], _COMMAND),
        "base": "Django names a database's backend so",
    },
    "annotate": {
        **dict.fromkeys(["audit", "consensus", "exam", "measures", "project", "quality", "review"], _LAYERS),
        **dict.fromkeys(["data", "labeling", "people"], _LAYERS),
        **dict.fromkeys(["invitations", "keyboard_shortcuts", "notices", "projects", "rubric"], _LAYERS),
        "chat": "the kind of task, its model, its form and its views",
        "hone": "the product's own file format; Django names a template library for its app",
        "tasks": "the manager's page: its form and its view",
    },
    "hone_client": {},
    "rlhf": {
        "sample": "a command, and the stage that it starts",
        **dict.fromkeys(["active_learning", "evaluations", "human_evaluation", "loop", "models"], _LAYERS),
        **dict.fromkeys(["playground", "reports", "runs"], _LAYERS),
    },
    "models_core": {
        **dict.fromkeys(["ai_feedback", "generation", "preferences", "training"], _SETTINGS),
        **dict.fromkeys(["catalogue", "commands", "live"], _COMMAND),
        "base": "the base classes of a folder: of its settings, of its reward sources",
    },
}


def modules(package: Path) -> list[Path]:
    found = sorted(package.rglob("*.py"))
    return [path for path in found if not {"migrations", "__pycache__"} & set(path.relative_to(package).parts)]


def repeated_names(package: Path) -> dict[str, list[str]]:
    """{name: places} of modules and folders that share a base name."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in modules(package):
        if path.name == "__init__.py" and path.parent != package:
            places[path.parent.name].append(str(path.parent.relative_to(package)))
        elif path.name != "__init__.py":
            places[path.stem].append(str(path.relative_to(package)))
    return {name: found for name, found in places.items() if len(found) > 1}


# Imported when it is called, by those who have installed it.
WITHIN_FUNCTIONS = {
    "third_party.py": {"httpx2", "huggingface_hub", "mlflow", "regex", "torch", "transformers", "wandb"}
}


def foreign_imports(folder: Path, own: str) -> Iterator[str]:
    """ "file: module" of each import that is neither the standard library's nor the folder's own."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
                if node.module == own.rpartition(".")[0]:
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                is_own = name == own or name.startswith(f"{own}.")
                if not is_own and name.partition(".")[0] not in sys.stdlib_module_names:
                    yield f"{path.relative_to(folder)}: {name}"


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_a_package_has_few_modules_at_its_top(package: str) -> None:
    top = sorted(path.name for path in (ROOT / package).glob("*.py") if path.name != "__init__.py")
    assert len(top) <= MOST_MODULES, top


@pytest.mark.parametrize("room", FINE_ROOMS)
def test_a_folder_has_few_modules_or_one_for_each_of_a_kind(room: str) -> None:
    counts = {str(path.relative_to(ROOT)): 0 for path in [ROOT / room, *(ROOT / room).rglob("*")] if path.is_dir()}
    for path in modules(ROOT / room):
        counts[str(path.parent.relative_to(ROOT))] += path.name != "__init__.py"
    assert [folder for folder, count in counts.items() if count > MOST_MODULES and folder not in A_MODULE_EACH] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_module_name_has_one_meaning(package: str) -> None:
    repeated = repeated_names(ROOT / package)
    # A stage's settings, command and recipe bear its name.
    known = set(SAME_SUBJECT[package]) | (set(STAGES) if package == "models_core" else set())
    unexpected = {name: places for name, places in repeated.items() if name not in known}
    assert unexpected == {}
    assert set(SAME_SUBJECT[package]) <= set(repeated), "a name that is no longer repeated leaves the list"


def test_a_second_meaning_is_found(tmp_path: Path) -> None:
    for place in ("queue/work.py", "views/work/__init__.py", "views/work/mine.py", "__init__.py"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("")
    assert repeated_names(tmp_path) == {"work": ["queue/work.py", "views/work"]}


def test_the_contract_imports_nothing_but_the_standard_library() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for line in foreign_imports(ROOT / "models_core" / "contract", "models_core.contract"):
        file, _colon, module = line.partition(": ")
        found[file].add(module.partition(".")[0])
    assert found == WITHIN_FUNCTIONS


def test_the_contract_is_imported_without_any_other_package() -> None:
    """A process of its own imports every module of it, and names what came with them."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules(ROOT / "models_core" / "contract")
    ]
    code = (
        "import importlib, json, sys\n"
        "before = set(sys.modules)\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "came = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(json.dumps(sorted(came - set(sys.stdlib_module_names))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["models_core"]


def test_a_foreign_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import json, torch\n"
        "from models_core import contract\n"
        "from models_core.contract.errors import BadInput\n"
        "from models_core.rl import losses\n"
        "from models_core import generation\n"
    )
    found = ["a.py: torch", "a.py: models_core.rl", "a.py: models_core.generation"]
    assert list(foreign_imports(tmp_path, "models_core.contract")) == found
