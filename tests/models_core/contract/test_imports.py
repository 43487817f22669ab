"""The contract is what other packages may import: it needs the standard library alone, but for one seam."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from models_core import contract

FOLDER = Path(contract.__file__).parent
SEAM = "third_party.py"
MODULES = sorted(FOLDER.rglob("*.py"))


def imported(tree: ast.AST) -> list[str]:
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return names + [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != SEAM], ids=lambda path: path.stem)
def test_a_module_imports_the_standard_library_and_the_contract(path: Path) -> None:
    names = imported(ast.parse(path.read_text(encoding="utf-8")))
    others = [
        name
        for name in names
        if name.split(".")[0] not in sys.stdlib_module_names and not f"{name}.".startswith("models_core.contract.")
    ]
    assert others == []


class WithoutFunctions(ast.NodeTransformer):
    """What runs when the module is imported: the bodies of classes too, but of no function."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        return None


def test_the_seam_imports_packages_only_when_it_is_called() -> None:
    tree = ast.parse((FOLDER / SEAM).read_text(encoding="utf-8"))
    assert {"regex", "torch", "huggingface_hub"} <= set(imported(tree))
    at_import = WithoutFunctions().visit(tree)
    assert [name for name in imported(at_import) if name.split(".")[0] not in sys.stdlib_module_names] == []


def test_importing_the_whole_contract_loads_no_package() -> None:
    names = [".".join(path.relative_to(FOLDER.parents[1]).with_suffix("").parts) for path in MODULES]
    names = [name.removesuffix(".__init__") for name in names]
    program = (
        "import importlib, json, sys\n"
        "before = set(sys.modules)\n"  # what the environment loads at its start
        f"for name in {names!r}: importlib.import_module(name)\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(json.dumps(sorted(new - sys.stdlib_module_names - {'models_core'})))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=FOLDER.parents[1], capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout) == []
