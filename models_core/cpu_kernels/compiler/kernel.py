"""A Python function made into machine code that many threads run at once.

    @kernel
    def double(arguments):                      # an address: numbers of 64 bits, see `thread_team`
        values = carray(arguments, (4,))
        thread, threads = own(values)
        ...

    Call(double, [numbers.data_ptr()]).run()

It is compiled when it is first run, in seconds, and kept on disk: later processes load it in milliseconds. The place is
the user's cache folder, or below HONE_DATA where there is none; a file there that cannot be read is thrown away, and
where nothing can be written every process compiles for itself.
"""

import hashlib
import inspect
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import types

SIGNATURE = types.void(types.CPointer(types.int64))
part = numba.njit(error_model="numpy")
"""Decorates a function that kernels are built from; numbers divide as in numpy, without an exception."""
_lock = threading.RLock()


class Kernel:
    """`address` is that of the machine code: a C function of one pointer."""

    def __init__(self, function: Callable[[Any], None]) -> None:
        self.function = function
        self.compiled: Any = None

    @property
    def address(self) -> int:
        self.load()
        address: int = self.compiled.address
        return address

    def load(self) -> None:
        """Compile it, or take it from the disk, if that has not been done."""
        with _lock:
            self.compiled = self.compiled or self._made()

    def _made(self) -> Any:
        for folder in _folders():
            own = folder / _version(self.function)
            try:
                own.mkdir(parents=True, exist_ok=True)
            except OSError:
                continue
            try:
                return self._compiled(own)
            except Exception:  # what a broken pickle raises is anyone's guess
                shutil.rmtree(own, ignore_errors=True)
        return self._compiled(None)

    def _compiled(self, folder: Path | None) -> Any:
        """numba asks for its folder while a function is decorated."""
        settings: Any = numba.config
        usual = settings.CACHE_DIR
        try:
            settings.CACHE_DIR = str(folder or "")
            return numba.cfunc(SIGNATURE, cache=folder is not None, error_model="numpy")(self.function)
        finally:
            settings.CACHE_DIR = usual


def kernel(function: Callable[[Any], None]) -> Kernel:
    """Decorates a function of one address that is to be compiled when it is first run."""
    return Kernel(function)


def _folders() -> list[Path]:
    """Where machine code may be kept, in order of preference."""
    folders = []
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(home):
        folders.append(Path(home))
    folders.append(Path(os.environ.get("HONE_DATA") or "var"))
    return [folder / "hone-compiled" for folder in folders]


def _version(function: Callable[[Any], None]) -> str:
    """A name that changes with every source that may be part of the machine code: numba looks at one file alone.

    The processor and its instructions are told apart by numba.
    """
    sources = sorted({*Path(__file__).parent.glob("*.py"), *Path(inspect.getfile(function)).parent.glob("*.py")})
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
