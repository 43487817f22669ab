"""Personal data in texts, replaced by what they are: e-mail addresses, phone and account numbers, IP addresses.

Plain rules with checksums where numbers have one, for they need no model and say the same on every machine. Names of
people and places are not found: a text about somebody stays one. Every pattern is bounded, so a text takes linear time.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Any

CONTEXT = 40


def _digits(written: str) -> list[int]:
    return [int(sign) for sign in written if sign.isdecimal()]


def _is_card(written: str) -> bool:
    """Luhn's checksum."""
    digits = _digits(written)[::-1]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[1::2]]
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_iban(written: str) -> bool:
    """The checksum of ISO 13616."""
    compact = written.replace(" ", "")
    moved = compact[4:] + compact[:4]
    return 15 <= len(compact) <= 34 and int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def _is_resident(written: str) -> bool:
    """The checksum of Chinese resident identity numbers (GB 11643)."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(sign) for weight, sign in zip(weights, written[:17], strict=True))
    return "10X98765432"[total % 11] == written[17].upper()


def _is_address(written: str) -> bool:
    try:
        return bool(ip_address(written))
    except ValueError:
        return False


def _always(_written: str) -> bool:
    return True


RULES: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = tuple(
    (name, re.compile(pattern, re.ASCII), check)
    for name, pattern, check in (
        (
            "EMAIL",
            r"(?<![\w.%+-])[A-Za-z0-9][\w.%+-]{0,63}@[A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9-]{1,63}){1,5}",
            _always,
        ),
        ("IBAN", r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", _is_iban),
        ("ID", r"(?<![\dA-Za-z])[1-9]\d{16}[\dXx](?![\dA-Za-z])", _is_resident),
        ("ID", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])", _always),
        ("CARD", r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d.-]?\d)", _is_card),
        ("PHONE", r"(?<![\w+])\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?!\d)", _always),
        ("PHONE", r"(?<![\d.-])1[3-9]\d(?:[ -]?\d{4}){2}(?![\d.-]?\d)", _always),
        ("PHONE", r"(?<![\d.-])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\d-])", _always),
        ("IP", r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]?\d)", _is_address),
    )
)


@dataclass(kw_only=True)
class Redactor:
    """Replaces personal data in the texts of contract rows; counts what was found, by kind.

    most_samples: how many finds are kept with the text around them, for a preview.
    """

    most_samples: int = 0
    found: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[str, str, str, str]] = field(default_factory=list)

    def text(self, written: str) -> str:
        """The text with a word such as [EMAIL] in place of each find."""
        for name, pattern, check in RULES:
            if pattern.search(written):
                written = pattern.sub(partial(self._replaced, name=name, check=check), written)
        return written

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """A contract row, redacted: chats, responses, notes and comments."""
        changed = dict(row)
        for key in ("prompt", "opening"):
            if key in row:
                changed[key] = [{**turn, "content": self.text(turn["content"])} for turn in row[key]]
        for key in ("response", "comment"):
            if key in row:
                changed[key] = self.text(row[key])
        if "responses" in row:
            changed["responses"] = [
                {key: self.text(value) if key in ("text", "note") else value for key, value in response.items()}
                for response in row["responses"]
            ]
        return changed

    def _replaced(self, match: re.Match[str], *, name: str, check: Callable[[str], bool]) -> str:
        if not check(match[0]):
            return match[0]
        self.found[name] += 1
        if len(self.samples) < self.most_samples:
            before = match.string[max(0, match.start() - CONTEXT) : match.start()]
            after = match.string[match.end() : match.end() + CONTEXT]
            self.samples.append((before, match[0], f"[{name}]", after))
        return f"[{name}]"


def redacted(rows: Iterator[tuple[str, dict[str, Any] | None]], redactor: Redactor) -> Iterator[Any]:
    for split, row in rows:
        yield split, None if row is None else redactor.row(row)
