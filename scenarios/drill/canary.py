"""Looks for card numbers in files, in every encoding they might have slipped out in.

All cards of a drill begin with a test BIN and a run of zeros; that beginning is the canary. It is looked for as text,
as packed decimals in both alignments, as hexadecimal text of either case, in base64 at all three offsets, and as UTF-16
in both byte orders. What is sealed does not show it, so nothing has to be left out of the search.
"""

import base64
import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from switch.issuer.portfolio import STANDARD_ISSUERS, ZERO_RUN, Issuer

SHOWN: Final = 100
"""Sightings a report lists; it counts them all."""


class Canary(NamedTuple):
    """How the card numbers of one BIN begin, and how long they are."""

    digits: str
    length: int


class Needle(NamedTuple):
    """Bytes to look for, and how they stand for the digits."""

    encoding: str
    data: bytes


class Sighting(NamedTuple):
    """Where a canary stands. Neither its digits nor its surroundings are told."""

    file: str
    offset: int
    encoding: str


PACKED, SHIFTED = "packed", "packed, shifted"


def canaries(issuers: Sequence[Issuer] = STANDARD_ISSUERS) -> list[Canary]:
    """How every card number of these issuers begins: its BIN and its zeros."""
    return [
        Canary(prefix + "0" * _zeros(issuer, prefix), issuer.pan_digits) for issuer in issuers for prefix in issuer.bins
    ]


def _zeros(issuer: Issuer, prefix: str) -> int:
    """Zeros that each of its numbers has after the BIN: those before the widest serial of a drill."""
    return max(ZERO_RUN - (len(prefix) - len(prefix.rstrip("0"))), issuer.pan_digits - len(prefix) - 6)


def needles(digits: str) -> list[Needle]:
    """A beginning of a card number in every encoding."""
    text = digits.encode("ascii")
    found = [
        Needle("text", text),
        Needle(PACKED, bytes.fromhex(digits[: len(digits) // 2 * 2])),
        Needle(SHIFTED, bytes.fromhex(digits[1 : 1 + (len(digits) - 1) // 2 * 2])),
        Needle("hexadecimal", text.hex().encode()),
        Needle("UTF-16 LE", digits.encode("utf-16-le")),
        Needle("UTF-16 BE", digits.encode("utf-16-be")),
    ]
    for offset in range(3):
        # The first and last characters of base64 hold bits of the neighbours: only what the digits alone decide.
        inside = text[(3 - offset) % 3 :]
        found.append(Needle("base64", base64.b64encode(inside[: len(inside) // 3 * 3])))
    return found


def scan(paths: Iterable[Path], wanted: Sequence[Canary]) -> Iterator[Sighting]:
    """Every canary in these files (directories are walked). Files that cannot be read are an OSError."""
    for path in paths:
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.stat().st_size:
                with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    yield from _in_file(str(file), data, wanted)


def _in_file(name: str, data: mmap.mmap, wanted: Sequence[Canary]) -> Iterator[Sighting]:
    for canary in wanted:
        for needle in needles(canary.digits):
            place = data.find(needle.data)
            while place >= 0:
                if needle.encoding not in (PACKED, SHIFTED) or _is_number(data, place, needle.encoding, canary):
                    yield Sighting(name, place, needle.encoding)
                place = data.find(needle.data, place + 1)


def _is_number(data: mmap.mmap, place: int, encoding: str, canary: Canary) -> bool:
    """Whether a whole card number stands here, check digit and all: five bytes of packed zeros alone are often none."""
    if encoding == SHIFTED:
        digits = data[max(0, place - 1) : place + (canary.length + 1) // 2].hex()[1 : 1 + canary.length]
    else:
        digits = data[place : place + (canary.length + 1) // 2].hex()[: canary.length]
    return digits.startswith(canary.digits) and len(digits) == canary.length and digits.isdecimal() and luhn(digits)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others."""
    numbers = [int(digit) for digit in reversed(digits)]
    return (sum(numbers[::2]) + sum(sum(divmod(2 * one, 10)) for one in numbers[1::2])) % 10 == 0


def report(directory: Path) -> dict[str, Any]:
    """The scan over everything a drill wrote: how many files and bytes, and the sightings."""
    files = [one for one in directory.rglob("*") if one.is_file()]
    found = list(scan([directory], canaries()))
    return {
        "files": len(files),
        "bytes": sum(one.stat().st_size for one in files),
        "sightings": len(found),
        "where": [one._asdict() for one in found[:SHOWN]],
    }
