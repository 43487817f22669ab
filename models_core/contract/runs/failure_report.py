"""Why a command failed, for the program that started it: {"code", "message"} in the file that FILE_VARIABLE names.

The message is the last line on standard error, in English. The codes tell failures apart without reading it.
"""

import json
import os
from pathlib import Path

from models_core.contract.runs import processes

FILE_VARIABLE = "HONE_FAILURE_FILE"
BAD_INPUT, OUT_OF_MEMORY, DISK_FULL = "bad_input", "out_of_memory", "disk_full"
FILE_ERROR, HALTED, CRASHED = "file_error", "halted", "crashed"


def record(code: str, message: str) -> None:
    """Write the failure where the caller wants to read it; nothing where nobody asked, or the disk is full."""
    name = os.environ.get(FILE_VARIABLE)
    if not name or not processes.is_main():
        return
    path = Path(name)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps({"code": code, "message": message}, ensure_ascii=False), encoding="utf-8")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
