"""The file of sampled responses while it is written: one row per prompt, as soon as its responses are there.

Rows go into OUT.partial in the order in which they come; at the end OUT gets them in the order of the prompts, whole or
not at all. A command that was interrupted goes on from OUT.partial with --resume, where it was asked for the same.
"""

import json
from pathlib import Path
from typing import Any

from models_core.commands.output import partial_output
from models_core.contract.atomic_write import write_lines


class CompletionFile:
    """`request` says what is asked for, as JSON; there is one row for each of `prompts` prompts. Raises BadInput."""

    def __init__(self, out: Path, *, request: dict[str, Any], prompts: int, resume: bool) -> None:
        self.out = out
        self.partial = partial_output.beside(out)
        self.prompts = prompts
        kept = partial_output.entries(self.partial, request=request) if resume else []
        self.rows: dict[int, dict[str, Any]] = {int(entry["number"]): entry["row"] for entry in kept}
        self._file = partial_output.begin(self.partial, request=request)
        for number, row in self.rows.items():
            self._write({"number": number, "row": row})

    @property
    def missing(self) -> list[int]:
        """Numbers of the prompts that have no row yet."""
        return [number for number in range(self.prompts) if number not in self.rows]

    def add(self, number: int, row: dict[str, Any]) -> None:
        self.rows[number] = row
        self._write({"number": number, "row": row})

    def finish(self) -> None:
        """Put the rows in order and in place."""
        write_lines(self.out, (json.dumps(self.rows[number], ensure_ascii=False) for number in range(self.prompts)))
        self.partial.unlink()

    def close(self) -> None:
        """No more rows come. A file without any is not left behind."""
        self._file.close()
        if not self.rows:
            self.partial.unlink(missing_ok=True)

    def stop_message(self) -> str:
        """The last message when the command has to end early."""
        if not self.rows:
            return "Stopped."
        return f"Stopped; {len(self.rows)} of {self.prompts} prompts have responses, --resume goes on with the others."

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(partial_output.line(entry))
        self._file.flush()
