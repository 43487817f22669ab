"""The bytes of a file as UTF-8, within limits of memory and time: UTF-8, UTF-16 or UTF-32, gzipped or not.

Lines end at \\n alone, as in every reader of JSON lines in the product: a text may hold U+2028 or any other sign that
Python's splitlines knows.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.utils.translation import gettext as _

from annotate.formats.rows import BadRow

LONGEST_FILE = 4 * 2**30
LONGEST_LINE = 16 * 2**20
"""Bytes of a line of JSON lines, of an item of an array, of a field of a table."""
GZIP_MAGIC = b"\x1f\x8b"
MOST_FOLDED = 200
"""How many times its size a gzipped file may unfold to. Texts of people shrink to a fifth, the same row again and again
to a fiftieth; what shrinks to a thousandth was made to fill memory."""
FREE_OF_FOLDING = 64 * 2**20
BLOCK = 2**20
# The order matters: UTF-32's little-endian mark begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class BadFile(Exception):
    """Why the file as a whole can't be read, as a sentence."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes as UTF-8, unpacked if it's gzipped. Raises BadFile."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            unpacked = io.BufferedReader(_Unfolded(file, path)) if packed else file
            yield _as_utf8(unpacked, path)
    except FileNotFoundError:
        raise BadFile(_("There is no file %(file)s.") % {"file": path.name}) from None
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise BadFile(_("%(file)s is a broken gzip file.") % {"file": path.name}) from None
    except OSError as error:
        raise BadFile(
            _("%(file)s can't be read: %(reason)s.") % {"file": path.name, "reason": error.strerror}
        ) from None


def lines(path: Path) -> Iterator[tuple[str, str | BadRow]]:
    """(place, text) of each line that isn't blank; what can't be text comes as the BadRow that says so."""
    place = _("line %(number)d")
    with opened(path) as file:
        number = size = 0
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            size += len(raw)
            check_size(size, path)
            if len(raw) > LONGEST_LINE:
                raise BadFile(
                    _("%(file)s: line %(number)s is longer than %(size)s MB.")
                    % {"file": path.name, "number": number, "size": LONGEST_LINE // 2**20}
                )
            text = decoded(raw, first=number == 1)
            if isinstance(text, BadRow) or text.strip():
                # What JSON takes for blank, and no other space: an ideographic one begins a paragraph.
                yield place % {"number": number}, text if isinstance(text, BadRow) else text.strip(" \t\r\n")


def first_character(path: Path) -> str:
    """The first character that isn't blank, or "" for a file without any."""
    with opened(path) as file:
        while block := file.read(4096):
            start = block.removeprefix(codecs.BOM_UTF8).lstrip()
            if start:
                return chr(start[0])
    return ""


class _Unfolded(io.RawIOBase):
    """A gzipped file's content; stops at one that unfolds to far more than any text does. Raises BadFile."""

    def __init__(self, packed: IO[bytes], path: Path) -> None:
        super().__init__()
        self.path = path
        self.most = max(FREE_OF_FOLDING, MOST_FOLDED * path.stat().st_size)
        self.content = gzip.GzipFile(fileobj=packed)
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        given = self.content.readinto(buffer)
        self.given += given
        if self.given > self.most:
            raise BadFile(
                _("%(file)s unfolds to more than %(times)d times its size. Unpack it, and give the file itself.")
                % {"file": self.path.name, "times": MOST_FOLDED}
            )
        return given


class _Recoded(io.RawIOBase):
    """A file of another encoding as UTF-8. Raises BadFile where it isn't in that encoding."""

    def __init__(self, file: IO[bytes], encoding: str, path: Path) -> None:
        super().__init__()
        self.file, self.encoding, self.path = file, encoding, path
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.left = b""
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.left and not self.ended:
            block = self.file.read(BLOCK)
            self.ended = not block
            try:
                self.left = self.decoder.decode(block, final=self.ended).encode()
            except UnicodeError:
                raise BadFile(
                    _("%(file)s isn't the %(encoding)s text that its first bytes say it is.")
                    % {"file": self.path.name, "encoding": self.encoding.upper()}
                ) from None
        size = min(len(buffer), len(self.left))
        buffer[:size] = self.left[:size]
        self.left = self.left[size:]
        return size


def _as_utf8(file: "io.BufferedReader[Any]", path: Path) -> IO[bytes]:
    start = file.peek(4)[:4]
    encoding = next((encoding for mark, encoding in MARKS if start.startswith(mark)), "")
    # Without a mark, JSON and text of plain letters have every other byte empty.
    if not encoding and len(start) == 4 and start[1] == start[3] == 0 and start[0] and start[2]:
        encoding = "utf-16-le"
    elif not encoding and len(start) == 4 and start[0] == start[2] == 0 and start[1] and start[3]:
        encoding = "utf-16-be"
    return io.BufferedReader(_Recoded(file, encoding, path), BLOCK) if encoding else file


def decoded(raw: bytes, *, first: bool) -> str | BadRow:
    try:
        return raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        return BadRow(_("not UTF-8 text (byte %(number)s of the line)") % {"number": error.start + 1})


def check_size(size: int, path: Path) -> None:
    if size > LONGEST_FILE:
        raise BadFile(_("%(file)s is larger than %(size)s GB.") % {"file": path.name, "size": LONGEST_FILE // 2**30})
