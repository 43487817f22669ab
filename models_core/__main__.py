"""The command line: `python -m models_core COMMAND ...`.

Exit status: 0 done, 2 bad input (the last line on standard error says what and where), 3 stopped with a checkpoint,
1 anything else. The last line on standard output is one JSON object of what was done. torch is loaded by the command
that needs it, so that `--help` and a mistyped flag answer at once.
"""

import argparse
import dataclasses
import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_core.commands import input_files
from models_core.contract import catalogue, processes, records
from models_core.contract.errors import BadInput, Halted, Stopped
from models_core.contract.settings import STAGES, Settings, parse
from models_core.contract.stopping import StopSignal, follow_parent

if TYPE_CHECKING:
    import torch

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 3
OTHER_DIED = ("Connection closed by peer", "Connection reset by peer", "NCCL", "gloo")
"""What torch says in a process whose partner is gone."""
GIVEN = "_given"
"""Where the parser notes which flags it has met."""

Run = Callable[[argparse.Namespace, Any, "torch.device", StopSignal], dict[str, Any]]


def pretrain(arguments: argparse.Namespace, settings: Any, device: "torch.device", stop: StopSignal) -> dict[str, Any]:
    from models_core.recipes import pretrain

    return pretrain.train(
        settings,
        data=arguments.data,
        out=arguments.out,
        model=arguments.model,
        tokenizer=arguments.tokenizer,
        evaluation=arguments.eval,
        device=device,
        stop=stop,
        resume=arguments.resume,
    )


def sft(arguments: argparse.Namespace, settings: Any, device: "torch.device", stop: StopSignal) -> dict[str, Any]:
    from models_core.recipes import sft

    return sft.train(
        settings,
        model=arguments.model,
        data=arguments.data,
        out=arguments.out,
        evaluation=arguments.eval,
        templates=arguments.templates,
        replay=arguments.replay,
        ewc=arguments.ewc,
        device=device,
        stop=stop,
        resume=arguments.resume,
    )


def reward(arguments: argparse.Namespace, settings: Any, device: "torch.device", stop: StopSignal) -> dict[str, Any]:
    from models_core.recipes import reward

    return reward.train(
        settings,
        model=arguments.model,
        data=arguments.data,
        out=arguments.out,
        evaluation=arguments.eval,
        demonstrations=arguments.demonstrations,
        samples=arguments.samples,
        previous=arguments.previous,
        device=device,
        stop=stop,
        resume=arguments.resume,
    )


def ppo(arguments: argparse.Namespace, settings: Any, device: "torch.device", stop: StopSignal) -> dict[str, Any]:
    from models_core.recipes import ppo

    return ppo.train(
        settings,
        model=arguments.model,
        reward=arguments.reward,
        data=arguments.data,
        out=arguments.out,
        evaluation=arguments.eval,
        reference=arguments.reference,
        ptx=arguments.ptx,
        device=device,
        stop=stop,
        resume=arguments.resume,
    )


def dpo(arguments: argparse.Namespace, settings: Any, device: "torch.device", stop: StopSignal) -> dict[str, Any]:
    from models_core.recipes import dpo

    return dpo.train(
        settings,
        model=arguments.model,
        data=arguments.data,
        out=arguments.out,
        reference=arguments.reference,
        evaluation=arguments.eval,
        demonstrations=arguments.demonstrations,
        samples=arguments.samples,
        device=device,
        stop=stop,
        resume=arguments.resume,
    )


def sample(arguments: argparse.Namespace, settings: Any, device: "torch.device", stop: StopSignal) -> dict[str, Any]:
    from models_core.commands import sample

    return sample.run(
        settings,
        model=arguments.model,
        data=arguments.data,
        samples=arguments.samples,
        out=arguments.out,
        reward=arguments.reward,
        device=device,
        stop=stop,
        resume=arguments.resume,
    )


def score(arguments: argparse.Namespace, settings: Any, device: "torch.device", stop: StopSignal) -> dict[str, Any]:
    from models_core.commands import score

    return score.run(
        settings,
        model=arguments.model,
        data=arguments.data,
        out=arguments.out,
        device=device,
        stop=stop,
        resume=arguments.resume,
    )


def evaluate(arguments: argparse.Namespace, settings: Any, device: "torch.device", stop: StopSignal) -> dict[str, Any]:
    from models_core.commands import evaluate

    report = evaluate.run(
        settings,
        model=arguments.model,
        data=arguments.data,
        out=arguments.out,
        against=arguments.against,
        reward=arguments.reward,
        templates=arguments.templates,
        device=device,
        stop=stop,
    )
    print(evaluate.text(report), flush=True)
    return evaluate.summary(report)


COMMANDS: dict[str, tuple[Run, str]] = {
    "pretrain": (pretrain, "train a language model on plain text"),
    "sft": (sft, "fine-tune a language model on demonstrations"),
    "reward": (reward, "train a reward model on rankings"),
    "ppo": (ppo, "improve a policy against a reward model"),
    "dpo": (dpo, "train a policy on rankings, without a reward model"),
    "sample": (sample, "write K answers to every prompt"),
    "score": (score, "score answers with a reward model"),
    "evaluate": (evaluate, "measure perplexity, labels and answers, reward accuracy, or a win rate"),
}


def parser() -> argparse.ArgumentParser:
    """Every command with its flags. Exits with status 2 on a mistake, as argparse does."""
    root = argparse.ArgumentParser(prog="python -m models_core", description="Train and sample language models.")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {}
    for name, (_, help_text) in COMMANDS.items():
        made[name] = command = commands.add_parser(
            name,
            help=help_text,
            description=f"{help_text.capitalize()}.",
            epilog=_settings_help(STAGES[name]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        is_fresh = name == "pretrain"
        what = "base model to continue; without it a fresh one is made" if is_fresh else "the model"
        command.add_argument(
            "--model",
            action=_Once,
            required=not is_fresh,
            metavar="M",
            help=f"{what}: a folder, a catalogue name or a Hub id",
        )
        kinds = (
            "text (.txt or .jsonl)"
            if is_fresh
            else "JSON lines, or text (.txt)"
            if name == "evaluate"
            else "JSON lines"
        )
        several: dict[str, Any] = {"action": "append"} if name == "sft" else {"action": _Once}
        command.add_argument("--data", required=True, type=Path, metavar="FILE", help=kinds, **several)
        command.add_argument(
            "--out", action=_Once, required=True, type=Path, help="run folder" if _trains(name) else "file to write"
        )
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, see below")
        command.add_argument("--resume", action="store_true", help="go on from the last checkpoint, where there is one")
        command.add_argument("--seed", action=_Once, metavar="N", help="the same as --set seed=N")
        command.add_argument("--device", action=_Once, choices=("auto", "cpu", "cuda"), default="auto")
    made["pretrain"].add_argument(
        "--tokenizer", action=_Once, metavar="FOLDER", help="tokenizer of a fresh model; else one is trained"
    )
    for name in filter(_trains, COMMANDS):
        made[name].add_argument(
            "--eval", action=_Once, type=Path, metavar="FILE", help="data to measure on, not trained on"
        )
    made["sft"].add_argument(
        "--templates",
        action="append",
        default=[],
        metavar="T",
        help="instruction templates: a JSON file, a built-in set or none; once, or once for each --data",
    )
    made["sft"].add_argument(
        "--replay", action=_Once, type=Path, metavar="FILE", help="earlier demonstrations, mixed in"
    )
    made["sft"].add_argument(
        "--ewc", action=_Once, type=Path, metavar="FILE", help="demonstrations of a task not to be forgotten"
    )
    made["reward"].add_argument(
        "--demonstrations", action=_Once, type=Path, metavar="FILE", help="answers that score 0 on average"
    )
    made["reward"].add_argument(
        "--samples", action=_Once, type=Path, metavar="FILE", help="answers whose scores get deviation 1"
    )
    for what in ("--demonstrations", "--samples"):
        made["dpo"].add_argument(what, action=_Once, type=Path, metavar="FILE", help="answers for demonstration_pairs")
    made["reward"].add_argument(
        "--previous", action=_Once, metavar="RM", help="reward model in use until now, measured on new rows"
    )
    made["ppo"].add_argument(
        "--reward",
        action=_Once,
        required=True,
        metavar="RM",
        help="reward model, or several parted by commas; package.module:function; or a judge's address, http://host/v1",
    )
    for name in ("ppo", "dpo"):
        made[name].add_argument(
            "--reference", action=_Once, metavar="SFT", help="model to stay close to; the default is --model"
        )
    made["ppo"].add_argument(
        "--ptx", action=_Once, type=Path, metavar="FILE", help="text (.txt or .jsonl) not to be forgotten"
    )
    made["sample"].add_argument(
        "--samples", action=_Once, type=_positive, default=1, metavar="K", help="answers a prompt"
    )
    made["sample"].add_argument(
        "--reward", action=_Once, metavar="RM", help="reward model that scores answers, for best_of"
    )
    made["evaluate"].add_argument(
        "--templates",
        action=_Once,
        metavar="T",
        help="instruction templates that word the rows: a JSON file or a built-in set",
    )
    made["evaluate"].add_argument("--against", action=_Once, metavar="M2", help="other model of a win rate")
    made["evaluate"].add_argument("--reward", action=_Once, metavar="RM", help="reward model that judges the win rate")
    fetch = commands.add_parser("catalogue", help="fetch a base model").add_subparsers(dest="action", required=True)
    fetch.add_parser("fetch", help="fetch it unless it is there").add_argument("name", choices=list(catalogue.MODELS))
    live = commands.add_parser("live", help="answer prompts from standard input, the model staying loaded in between")
    live.add_argument("--idle", type=_seconds, default=900, metavar="SECONDS", help="end when nobody asks for so long")
    live.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return root


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    # Before torch is loaded: whoever started this may die, or ask to stop, during those seconds.
    # One of several processes dies at once: another worker may already be going on with the run.
    follow_parent(at_once=processes.is_launched())
    stop = StopSignal().listen()
    start = time.perf_counter()
    try:
        if (number := _processes_to_start(arguments)) > 1:
            return _in_processes(sys.argv[1:] if argv is None else argv, number=number)
        if arguments.command == "catalogue":
            os.umask(0o077)  # what it fetches goes into the data folder, which is its owner's alone
            summary = {"folder": str(catalogue.resolve(arguments.name))}
        elif arguments.command == "live":
            summary = _live(arguments, stop)
        else:
            summary = _run(arguments, stop)
    except BadInput as error:
        return processes.report(_say(error, BAD_INPUT))
    except Stopped as stopped:
        return processes.report(_say(stopped if str(stopped) else "Stopped.", STOPPED))
    except Exception as error:
        if _is_of_partner(error):
            return processes.report(
                _say("Another process of this run died; --resume goes on from the last checkpoint.", processes.DIED)
            )
        if (reason := _known_failure(error)) is None:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}"
        return processes.report(_say(reason, FAILED))
    _part()
    if sentence := _too_long(summary, arguments):
        processes.log_main(sentence)
    if processes.is_main():
        print(json.dumps(_summary(summary, seconds=time.perf_counter() - start)), flush=True)
    return processes.report(DONE)


def _part() -> None:
    """Leave the other processes in order, where there are any."""
    if processes.count() > 1:
        from models_core.training import distributed

        distributed.leave()


def _processes_to_start(arguments: argparse.Namespace) -> int:
    """How many processes the settings ask for, where this one is not yet one of them. Raises BadInput."""
    if not _trains(arguments.command) or processes.is_launched():
        return 1
    number: int = getattr(_settings(arguments), "processes", 1)
    return number


def _in_processes(argv: Sequence[str], *, number: int) -> int:
    status = processes.launch(argv, number=number)
    if status is None:
        return _say("A process of the run died; --resume goes on from the last checkpoint.", processes.DIED)
    return status


def _run(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    settings = _settings(arguments)
    input_files.check(arguments, trains=_trains(arguments.command))
    for name, path in _data_files(arguments):
        if not path.is_file():
            raise BadInput(f"There is no file {path} (--{name}).")
    run, _ = COMMANDS[arguments.command]
    try:
        return run(arguments, settings, _device(arguments.device), stop)
    except BadInput as error:
        raise _with_row(error, arguments) from None


def _data_files(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """The files of rows or text by the flag that gave them, without standard input."""
    for name in ("data", "eval", "demonstrations", "ptx", "replay", "ewc"):
        given = getattr(arguments, name, None)
        for path in given if isinstance(given, list) else [given]:
            is_stream = arguments.command == "score" and path == Path(records.STANDARD_INPUT)
            if path is not None and not is_stream:
                yield name, path


def _with_row(error: BadInput, arguments: argparse.Namespace) -> BadInput:
    """An error that names the row where it is about a chat that a chat template refuses."""
    from models_core.modeling import chat

    if not isinstance(error, chat.TemplateRefused):
        return error
    for _, path in _data_files(arguments):
        if path.suffix != ".txt" and (found := records.place_of(path, error.messages)) is not None:
            line, row = found
            return BadInput(f"{path.name}, line {line}: the chat template refuses the row {row!r}: {error.reason}")
    return error


def _live(arguments: argparse.Namespace, stop: StopSignal) -> dict[str, Any]:
    from models_core.commands import live

    device = _device(arguments.device)
    return live.serve(calls=0, tell=live.tell_line, device=device, stop=stop, idle=arguments.idle)


def _settings(arguments: argparse.Namespace) -> Settings:
    """The stage's settings from --set and --seed. Raises BadInput."""
    values = {}
    for item in arguments.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise BadInput(f"--set takes KEY=VALUE, not {item!r}.")
        if name.strip() in values:
            raise BadInput(f"The setting {name.strip()} is given twice: which of the two is meant?")
        values[name.strip()] = value
    if arguments.seed is not None and "seed" in values:
        raise BadInput("The setting seed is given twice, by --seed and by --set: which of the two is meant?")
    if arguments.seed is not None:
        values["seed"] = arguments.seed
    return parse(STAGES[arguments.command], values)


def _device(name: str) -> "torch.device":
    import torch

    from models_core.training import memory

    memory.limit_primitive_cache()
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: this machine has no GPU that torch can use.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _too_long(result: dict[str, Any], arguments: argparse.Namespace) -> str:
    """The last sentence of a command that left out rows for their length, with what to set; empty where none was."""
    tallies = [result.get(name) or {} for name in ("left_out", "held_out_left_out")]
    count = sum(tally.get("too_long_responses", {}).get("count", 0) for tally in tallies)
    count += result.get("too_long_responses") or 0
    if not count:
        return ""
    longest = getattr(_settings(arguments), "max_length", 0)
    return (
        f"{count} responses were left out: with their prompts they are longer than max_length ({longest} tokens), or "
        "than the model can hold. A larger max_length takes more of them: --set max_length=N."
    )


def _summary(result: dict[str, Any], *, seconds: float) -> dict[str, Any]:
    """The result as strict JSON; `seconds` is the command's own figure where it has one."""
    from models_core.contract.run_folder import finite

    return finite({"seconds": seconds} | result)


def _is_of_partner(error: BaseException) -> bool:
    """Whether torch says that a process this one works with is gone."""
    return processes.is_launched() and any(sign in str(error) for sign in OTHER_DIED)


def _known_failure(error: BaseException) -> str | None:
    """The sentence for a machine that has run out of something, or for a recipe that says why it ended."""
    text = str(error)
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text:
        return (
            "Out of memory: take a smaller batch_size, max_tokens_per_forward or max_length, or a machine with more "
            "memory."
        )
    if "No space left on device" in text or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return "No space left on device: free some disk space, then continue with --resume."
    if isinstance(error, OSError):
        return f"A file could not be read or written: {error}."
    if isinstance(error, Halted) or type(error).__module__ in (
        "models_core.training.loop",
        "models_core.generation.served_model",
    ):
        return text
    return None


def _say(what: object, status: int) -> int:
    if processes.is_main():
        print(" ".join(str(what).split()), file=sys.stderr, flush=True)
    return status


def _settings_help(stage: type[Settings]) -> str:
    lines = [f"  {field.name} = {field.default}\n      {field.metadata['help']}" for field in dataclasses.fields(stage)]
    return "settings (--set KEY=VALUE) and their defaults:\n" + "\n".join(lines)


def _trains(command: str) -> bool:
    return command in ("pretrain", "sft", "reward", "ppo", "dpo")


class _Once(argparse.Action):
    """A flag that takes one value. argparse alone would let the last one win, without a word."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given: frozenset[str] = getattr(namespace, GIVEN, frozenset())
        if self.dest in given:
            way = "; join the files first: cat A B > C" if self.dest in ("data", "eval") else ""
            parser.error(f"--{self.dest} is given twice, and one is read{way}")
        setattr(namespace, GIVEN, given | {self.dest})
        setattr(namespace, self.dest, values)


def _positive(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 1024")
    return int(text)


def _seconds(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 86_400:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 86400")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
