"""What the documents name is there: files, modules, settings, metrics, commands, options, environment variables."""

import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from models_core.contract.settings import STAGES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), ROOT / "docker/README.md", *ROOT.glob("docs/**/*.md")])
HISTORY = {"CHANGELOG.md", "docs/experiments.md"}
"""A dated log names things as they were called at the time."""
LONGEST = 120
MADE_BY_OPERATORS = {"docker/.env"}
PACKAGES = "annotate|rlhf|models_core|config|tests|docs|benchmarks|static|templates|docker|deploy|locale"


def paths(documents: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in documents]


every_document = pytest.mark.parametrize("name", paths(DOCUMENTS))
every_present_document = pytest.mark.parametrize("name", sorted(set(paths(DOCUMENTS)) - HISTORY))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code(name: str) -> list[str]:
    """What a document sets as code: spans between backticks, and lines of code blocks."""
    fences = re.findall(r"^```.*?\n(.*?)^```", text(name), re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```.*?^```", "", text(name), flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"(?:^ {4,}\S.*\n)+", outside, re.MULTILINE)
    lines = [line.strip() for part in fences + blocks for line in part.splitlines()]
    return re.findall(r"`([^`\n]+)`", outside) + lines


@cache
def source(*suffixes: str) -> str:
    """The text of everything that runs."""
    folders = ("annotate", "benchmarks", "config", "models_core", "rlhf", "templates", "static/hone", "docker")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@cache
def words(*suffixes: str) -> frozenset[str]:
    """The words of everything that runs, and of the tests."""
    tests = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    return frozenset(re.findall(r"\w+", "\n".join([source(*suffixes), text("Makefile"), *tests])))


@every_document
def test_lines_are_at_most_120_characters(name: str) -> None:
    def may_be_longer(line: str) -> bool:
        return line.startswith("|") or re.fullmatch(r"!\[.*\]\(.*\)|\s*\S+", line) is not None

    lines = enumerate(text(name).splitlines(), 1)
    assert [number for number, line in lines if len(line) > LONGEST and not may_be_longer(line)] == []


@every_document
def test_linked_files_are_there(name: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text(name))
    here = (ROOT / name).parent
    assert [link for link in links if "://" not in link and not (here / link).exists()] == []


@every_present_document
def test_named_files_are_there(name: str) -> None:
    named = {part for span in code(name) for part in re.findall(rf"(?<![\w./-])(?:{PACKAGES})/[\w./*-]*\w", span)}
    assert sorted(part for part in named - MADE_BY_OPERATORS if not any(ROOT.glob(part))) == []


def modules(span: str) -> Iterator[str]:
    yield from re.findall(r"(?<![\w./-])(?:annotate|rlhf|models_core|config|benchmarks)(?:\.\w+)+", span)


def is_there(dotted: str) -> bool:
    """A module, or what a module defines."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        found = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        if found.is_file():
            words = found.read_text(encoding="utf-8")
            return all(re.search(rf"\b{part}\b", words) for part in parts[end : end + 1])
    return False


@every_present_document
def test_named_modules_are_there(name: str) -> None:
    files = re.compile(r"\.(py|md|json|jsonl|sqlite3|sql)$")
    named = {part for span in code(name) for part in modules(span) if not files.search(part)}
    assert sorted(part for part in named if not is_there(part)) == []


def settings() -> set[str]:
    return {field.name for stage in STAGES.values() for field in dataclasses.fields(stage)}


@every_present_document
def test_settings_given_to_commands_are_there(name: str) -> None:
    named = {found for span in code(name) for found in re.findall(r"--set[ =]([a-z]\w*)=", span)}
    assert sorted(named - settings()) == []


@every_present_document
def test_settings_and_metrics_in_code_spans_are_names_of_the_source(name: str) -> None:
    """`name` and `name=value` alone between backticks: a word of several parts is a name that the source knows."""
    named = {span.partition("=")[0] for span in code(name) if re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+(=\S*)?", span)}
    files = {path.stem for path in ROOT.glob("models_core/**/*.json")}
    assert sorted(named - files - words(".py", ".html", ".js", ".yml", ".conf")) == []


@every_present_document
def test_environment_variables_are_read(name: str) -> None:
    named = set(re.findall(r"\bHONE_[A-Z_]*[A-Z]\b", text(name)))
    assert sorted(named - words(".py", ".yml", ".sh")) == []


@every_present_document
def test_commands_and_their_options_are_there(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    manage = {path.stem for path in ROOT.glob("*/management/commands/*.py")} | {
        "migrate",
        "createsuperuser",
        "shell",
        "changepassword",
        "check",
    }
    benchmarks = set(re.findall(r'^    "(\w+)": ', text("benchmarks/__main__.py"), re.MULTILINE)) | {"engine"}
    models_core = {*STAGES, "catalogue", "gguf", "harness", "import", "live", "measure", "plan", "push"}
    options = set(re.findall(r'"(--[a-z][a-z-]*)"', source(".py"))) | set(
        re.findall(r"--[a-z][a-z-]*", text("Makefile") + text("pyproject.toml") + source(".yml", ".sh"))
    )
    torchrun = {"--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id", "--node-rank"}
    wrong: list[str] = []
    for span in code(name):
        wrong += [f"make {word}" for word in re.findall(r"\bmake ([a-z]+)\b", span) if word not in targets]
        wrong += [f"manage.py {word}" for word in re.findall(r"manage\.py (\w+)", span) if word not in manage]
        found = re.findall(r"python -m models_core (?:\[[^]]*\] )?([a-z]+)\b", span)
        wrong += [f"models_core {word}" for word in found if word not in models_core]
        wrong += [f"benchmarks {word}" for word in re.findall(r"-m benchmarks (\w+)", span) if word not in benchmarks]
        if re.search(r"^(?!torchrun|docker|kubectl).*(manage\.py|-m models_core|-m benchmarks)|^--", span):
            wrong += [
                option for option in re.findall(r"(?<!\w)--[a-z][a-z-]*", span) if option not in options | torchrun
            ]
    assert wrong == []
