"""Flags and types of arguments that several commands share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEEN_FLAGS = "_seen_flags"
"""Attribute of a namespace: the flags that the parser has met."""
DEVICES = ("auto", "cpu", "cuda")


class SingleUse(argparse.Action):
    """A flag that takes one value. argparse alone would silently use the last one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        seen: frozenset[str] = getattr(namespace, SEEN_FLAGS, frozenset())
        if self.dest in seen:
            advice = "; join the files first: cat A B > C" if self.dest in ("data", "eval") else ""
            parser.error(f"--{self.dest} is given twice, and one is read{advice}")
        setattr(namespace, SEEN_FLAGS, seen | {self.dest})
        setattr(namespace, self.dest, values)


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """An argument type: a whole number of a closed range."""

    def parse(text: str) -> int:
        if not text.isdigit() or not minimum <= int(text) <= maximum:
            raise argparse.ArgumentTypeError(f"must be a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def add_model(parser: argparse.ArgumentParser, *, required: bool = True, role: str = "model") -> None:
    parser.add_argument(
        "--model",
        action=SingleUse,
        required=required,
        metavar="M",
        help=f"{role}: a folder, a catalogue name or a Hub id",
    )


def add_data(parser: argparse.ArgumentParser, *, formats: str = "JSON lines", repeatable: bool = False) -> None:
    action: Any = "append" if repeatable else SingleUse
    parser.add_argument("--data", action=action, required=True, type=Path, metavar="FILE", help=f"input: {formats}")


def add_file(parser: argparse.ArgumentParser, flag: str, help_text: str) -> None:
    """An optional input file."""
    parser.add_argument(flag, action=SingleUse, type=Path, metavar="FILE", help=help_text)


def add_evaluation(parser: argparse.ArgumentParser) -> None:
    add_file(parser, "--eval", "held-out data for evaluation")


def add_reference(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reference", action=SingleUse, metavar="SFT", help="reference policy of the KL term; the default is --model"
    )


def add_run(parser: argparse.ArgumentParser, *, out: str) -> None:
    """The flags of every command that has settings."""
    parser.add_argument("--out", action=SingleUse, required=True, type=Path, help=f"output: {out}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, listed below")
    add_resume(parser)
    parser.add_argument("--seed", action=SingleUse, metavar="N", help="random seed, the same as --set seed=N")
    add_device(parser, once=True)


def add_resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint, if there is one")


def add_device(parser: argparse.ArgumentParser, *, once: bool = False) -> None:
    action: dict[str, Any] = {"action": SingleUse} if once else {}
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="device; auto selects a GPU where there is one", **action
    )
