"""Which files of a Hub's repository are the rows of a data set.

The repository's card may name configurations with the files of each split (`configs`); where it does, these are the
data set. Elsewhere all data files of the most common kind are, as `datasets` has it; a configuration is then a folder,
and a split a word in the file's name. A data set that a script makes is refused: no code of a repository is run.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Self

from django.utils.translation import gettext as _

from annotate.data.hub.hub_client import check_repository, check_token_variable
from annotate.errors import Refused
from annotate.formats.dataset_folders import DESCRIPTIONS, data_suffix

LARGEST_IN_ALL = 4 * 2**30
"""Bytes of the files of one import."""
MOST_FILES = 1_000
MOST_PATTERNS = 1_000
LONGEST_PATTERN = 300
LONGEST = 100
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
NAMED = 12
"""Configurations or splits that a sentence names."""


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A data set of a Hub: the repository, and which part of it. `token_variable`: where the token is, if one is."""

    repository: str
    config: str = ""
    split: str = ""
    revision: str = ""
    token_variable: str = ""

    @classmethod
    def checked(cls, **values: str) -> Self:
        """Raises Refused (400) for what names nothing."""
        source = cls(**{name: value.strip() for name, value in values.items()})
        check_repository(source.repository)
        check_token_variable(source.token_variable)
        for text in (source.config, source.split, source.revision):
            parts = text.split("/")
            if len(text) > LONGEST or (text and not text.isprintable()) or "\\" in text or ".." in parts:
                raise Refused(_("A configuration, a split or a revision is a short name."), status=400)
        return source

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def chosen(source: HubSource, sizes: Mapping[str, int | None], card: Mapping[str, Any]) -> list[str]:
    """The names of the files to fetch, in the order of their rows.

    sizes: {name of each file of the repository: bytes, where they are known}. card: its metadata. Raises Refused.
    """
    name = source.repository.partition("/")[2]
    configs, default = _configs(card)
    if f"{name}.py" in sizes and not configs:
        raise Refused(
            _(
                "%(repository)s is made by a script (%(script)s), which Hone doesn't run. Where the Hub keeps it as "
                "Parquet, give the revision refs/convert/parquet."
            )
            % {"repository": source.repository, "script": f"{name}.py"}
        )
    data = sorted(name for name in sizes if data_suffix(name))
    if configs:
        found = _of_configs(source, configs, default, data)
    else:
        found = _by_convention(source, data)
    descriptions = [name for name in sorted(sizes) if PurePosixPath(name).name in DESCRIPTIONS]
    folders = {str(PurePosixPath(name).parent) for name in found if name.endswith(".arrow")}
    if folders and not source.split:
        # What `save_to_disk` wrote is read by its description, which knows the order of the files.
        folders |= {"."}
        found += [name for name in descriptions if str(PurePosixPath(name).parent) in folders]
    known = [sizes[name] or 0 for name in found]
    if len(found) > MOST_FILES or sum(known) > LARGEST_IN_ALL:
        raise Refused(
            _(
                "%(repository)s has %(files)d data files of %(size).1f GB in all; up to %(most_files)d files and "
                "%(most_size)d GB are imported. Choose a configuration or a split."
            )
            % {
                "repository": source.repository,
                "files": len(found),
                "size": sum(known) / 2**30,
                "most_files": MOST_FILES,
                "most_size": LARGEST_IN_ALL // 2**30,
            }
        )
    return found


def _configs(card: Mapping[str, Any]) -> tuple[dict[str, dict[str, list[str]]], str]:
    """({configuration: {split: patterns of files}}, the one that is taken where none is named) of what the card says,
    without what it says in another shape."""
    listed, found, default = card.get("configs"), {}, "default"
    for config in listed if isinstance(listed, list) else []:
        name = config.get("config_name", "default") if isinstance(config, dict) else None
        if isinstance(name, str) and (splits := _patterns(config)):
            found[name] = splits
            if config.get("default") is True:
                default = name
    return found, next(iter(found)) if len(found) == 1 else default


def _patterns(config: Mapping[str, Any]) -> dict[str, list[str]]:
    files, folder = config.get("data_files"), config.get("data_dir")
    prefix = f"{folder.strip('/')}/" if isinstance(folder, str) and folder.strip("/") else ""
    if files is None and prefix:
        return {"": [f"{prefix}**"]}
    entries = files if isinstance(files, list) else [files]
    found: dict[str, list[str]] = {}
    for entry in entries:
        split, patterns = (entry.get("split", ""), entry.get("path")) if isinstance(entry, dict) else ("", entry)
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            if isinstance(pattern, str) and isinstance(split, str) and len(pattern) <= LONGEST_PATTERN:
                found.setdefault(split, []).append(prefix + pattern.removeprefix("./"))
    return found if sum(map(len, found.values())) <= MOST_PATTERNS else {}


def _of_configs(
    source: HubSource, configs: Mapping[str, Mapping[str, Sequence[str]]], default: str, data: Sequence[str]
) -> list[str]:
    name = source.config or default
    if name not in configs:
        if source.config:
            raise Refused(
                _("%(repository)s has no configuration %(name)s; it has %(known)s.")
                % {
                    "repository": source.repository,
                    "name": source.config,
                    "known": _names(configs),
                }
            )
        raise Refused(
            _("%(repository)s has several configurations: %(known)s. Name one.")
            % {"repository": source.repository, "known": _names(configs)}
        )
    splits = configs[name]
    if any("://" in pattern for patterns in splits.values() for pattern in patterns):
        raise Refused(
            _("The files of %(repository)s are elsewhere than in the repository.") % {"repository": source.repository}
        )
    found: list[str] = []
    known = []
    for split, patterns in splits.items():
        matching = [name for name in data if any(matches(name, pattern) for pattern in patterns)]
        by_word = _by_split(matching) if not split else {split: matching}
        known += list(by_word)
        for name, files in by_word.items():
            if not source.split or name == source.split:
                found += [file for file in files if file not in found]
    if source.split and not found:
        raise _no_split(source, known)
    if not found:
        raise _no_data(source)
    return found


def _by_convention(source: HubSource, data: Sequence[str]) -> list[str]:
    files = list(data)
    if source.config:
        files = [name for name in data if name.startswith(f"{source.config}/")]
        if data and not files:
            folders = sorted({name.partition("/")[0] for name in data if "/" in name})
            raise Refused(
                _("%(repository)s has no configuration %(name)s; it has %(known)s.")
                % {
                    "repository": source.repository,
                    "name": source.config,
                    "known": _names(folders) or "–",
                }
            )
    if not files:
        raise _no_data(source)
    kind, _count = Counter(map(data_suffix, files)).most_common(1)[0]
    by_split = _by_split([name for name in files if data_suffix(name) == kind])
    if not source.split:
        return [name for names in by_split.values() for name in names]
    if source.split not in by_split:
        raise _no_split(source, list(by_split))
    return by_split[source.split]


def _by_split(names: Sequence[str]) -> dict[str, list[str]]:
    """The files by the split that a word of each name tells; those of no such word are the training's."""
    found: dict[str, list[str]] = {split: [] for split in SPLIT_WORDS}
    for name in names:
        # The last word counts: data/train/test.jsonl is a test.
        words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
        of_words = [split for word in words for split, known in SPLIT_WORDS.items() if word in known]
        found[of_words[-1] if of_words else "train"].append(name)
    return {split: names for split, names in found.items() if names}


def matches(name: str, pattern: str) -> bool:
    """Whether a file is of a pattern: * is within a folder, ** any folders."""
    found = pattern.split("/")
    parts = [part for part, former in zip(found, ["", *found], strict=False) if part != "**" or former != "**"]
    if parts.count("**") > 3:
        return False
    return _matches(tuple(name.split("/")), tuple(parts))


def _matches(name: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_matches(name[start:], pattern[1:]) for start in range(len(name))) or len(pattern) == 1
    return bool(name) and fnmatchcase(name[0], pattern[0]) and _matches(name[1:], pattern[1:])


def _names(known: Any) -> str:
    names = [str(name)[:60] for name in known]
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _no_data(source: HubSource) -> Refused:
    return Refused(
        _("%(repository)s holds no data files that Hone reads (Parquet, Arrow, JSON, CSV, text).")
        % {"repository": source.repository}
    )


def _no_split(source: HubSource, known: Sequence[str]) -> Refused:
    return Refused(
        _("%(repository)s has no split %(name)s; it has %(known)s.")
        % {"repository": source.repository, "name": source.split, "known": _names(known) or "–"}
    )
