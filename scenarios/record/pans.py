"""Card numbers of a recording to test cards: the same number always to the same card, by the user's map or invented."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from switch.wire.roster import card_number, luhn_ok
from switch.wire.table import Column, read_table

COLUMNS: Final = (Column("pan", card_number, "", unique=False), Column("test", card_number, required=True))
"""The user's map: a row with `pan` fixes which test card stands for it; rows without one are taken when needed."""

_ZEROS: Final = "00000"
_RUN: Final = re.compile(r"\d{13,}")


class PanMap:
    """`rows` of (recorded number or "", test card's). With `keep` every number stays as it is: they are test cards
    already. Invented numbers keep BIN and length, have five zeros behind it and a right check digit."""

    def __init__(self, rows: Iterable[tuple[str, str]] = (), keep: bool = False) -> None:
        self.keep = keep
        self._known: dict[str, str] = {}
        self._free: list[str] = []
        for pan, test in rows:
            if pan:
                self._known[pan] = test
            else:
                self._free.append(test)
        self._free.reverse()
        self._given = set(self._known.values()) | set(self._free)
        self._serials: dict[tuple[str, int], int] = {}

    def __repr__(self) -> str:
        return f"PanMap({len(self._known)} cards)"

    def __len__(self) -> int:
        return len(self._known)

    def test(self, pan: str) -> str:
        """The test card that stands for a number; a test card of the map stands for itself."""
        if self.keep or pan in self._given:
            return pan
        found = self._known.get(pan)
        if found is None:
            found = self._free.pop() if self._free else self._invented(pan)
            self._known[pan] = found
        return found

    def _invented(self, pan: str) -> str:
        length, bin_ = max(len(pan), 13), pan[:6]
        serial = self._serials.get((bin_, length), 0) + 1
        self._serials[bin_, length] = serial
        room = length - len(bin_) - 1
        body = bin_ + (_ZEROS + str(serial).zfill(room - len(_ZEROS)))[-room:].zfill(room)
        return body + next(digit for digit in "0123456789" if luhn_ok(body + digit))

    def in_text(self, text: str) -> str:
        """A text with every number seen before replaced by its test card (by zeros where that has another length)."""
        if self.keep or not self._known:
            return text
        return _RUN.sub(self._in_run, text)

    def _in_run(self, run: re.Match[str]) -> str:
        digits, at, out = run.group(), 0, ""
        while at < len(digits):
            for size in range(min(19, len(digits) - at), 12, -1):
                found = self._known.get(digits[at : at + size])
                if found is not None:
                    out += found if len(found) == size else "0" * size
                    at += size
                    break
            else:
                out += digits[at]
                at += 1
        return out


def read_map(path: Path) -> list[tuple[str, str]]:
    """The rows of a map (columns pan and test). Raises TableError, which shows no number."""
    return read_table(path, COLUMNS, lambda line, pan, test: (pan, test))
