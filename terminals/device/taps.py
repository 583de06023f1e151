"""Taps on their way from a validator to the operator's back office: the record, the file, the lists that come back.

A file is text: a head, one line a tap, and the digest of it all. What does not read whole is refused whole. It holds
card numbers, so its link must be a protected one; no repr shows them. The field has no common format for these files:
this one is the house's own. See docs/transit.md, Files.
"""

import hashlib
from typing import Final, Literal, NamedTuple

from switch.wire import tlv
from switch.wire.errors import TlvError
from switch.wire.redact import mask_pan

HEAD: Final = "TAPS1"
TAKEN, FAULT, LIST, END = "TAKEN", "FAULT", "LIST", "END"
_BAR: Final = "|"
_TAP_FIELDS: Final = 12

TapState = Literal["paid", "listed"]


class FileFault(ValueError):
    """A file or an answer that does not read; the text names the line, never what stands in it."""


class Tap(NamedTuple):
    """One tap that concerns money. `at` YYYYMMDDhhmmss, `expiry` YYMM, `psn` two digits; amounts in minor units.

    `state`: "paid" (the gate opened, `icc_data` is DE55 with the TC), or "listed": the card has paid or may have, and
    the gate stayed shut; `reason` says why. A listed tap is never claimed from the issuer.
    """

    number: int
    pan: str
    psn: str
    expiry: str
    atc: int
    amount_minor: int
    at: str
    line: str
    zone: str
    state: TapState
    reason: str
    icc_data: bytes

    @property
    def key(self) -> str:
        """What makes it this tap and no other: card and transaction counter."""
        return f"{self.pan}-{self.psn}-{self.atc:04X}"

    @property
    def certificate(self) -> bytes:
        """The TC (9F26); empty where DE55 has none."""
        try:
            return dict(tlv.read(self.icc_data)).get("9F26", b"")
        except TlvError:
            return b""

    def __repr__(self) -> str:
        return f"Tap({self.number} {mask_pan(self.pan)} {self.atc} {self.amount_minor} {self.state})"


class TapFile(NamedTuple):
    """A closed file of one validator; numbers count from 1 and are never used again."""

    validator: str
    number: int
    taps: tuple[Tap, ...]


class Lists(NamedTuple):
    """What an operator's validators are told: refused cards, fares, minutes before the same card may pay again."""

    version: int
    blacklist: frozenset[str] = frozenset()
    fares: tuple[tuple[str, str, int], ...] = ()
    again_minutes: int = 5

    def __repr__(self) -> str:
        return f"Lists({self.version}, {len(self.blacklist)} cards, {len(self.fares)} fares)"


def write_file(file: TapFile) -> bytes:
    """A file as it is sent. Raises ValueError for a line or zone with a bar or a line break in it."""
    lines = [_BAR.join((HEAD, file.validator, str(file.number), str(len(file.taps))))]
    for tap in file.taps:
        lines.append(write_tap(tap))
    return sealed(lines)


def write_tap(tap: Tap) -> str:
    """A tap as a line of its file. Raises ValueError."""
    fields = (*map(str, tap[:11]), tap.icc_data.hex())
    if any(_BAR in field or "\n" in field for field in fields):
        raise ValueError("a bar or a line break inside a field")
    return _BAR.join(fields)


def read_file(body: bytes) -> TapFile:
    """Read a file, all or nothing. Raises FileFault."""
    lines = opened(body)
    head = lines[0].split(_BAR)
    if len(head) != 4 or head[0] != HEAD or not (head[2].isdecimal() and head[3].isdecimal()):
        raise FileFault("line 1: not the head of a file of taps")
    if int(head[3]) != len(lines) - 1:
        raise FileFault("line 1: another number of taps than there are lines")
    return TapFile(head[1], int(head[2]), tuple(read_tap(line, at) for at, line in enumerate(lines[1:], 2)))


def read_tap(line: str, at: int) -> Tap:
    """Read what `write_tap` made; `at` is its line in the file. Raises FileFault. A listed tap may lack its card."""
    fields = line.split(_BAR)
    if len(fields) != _TAP_FIELDS:
        raise FileFault(f"line {at}: {_TAP_FIELDS} fields are wanted")
    number, pan, psn, expiry, atc, amount, when, route, zone, state, reason, icc_data = fields
    digits = (number, atc, amount, pan or "0", when, expiry or "0", psn or "0")
    if not all(field.isascii() and field.isdecimal() for field in digits):
        raise FileFault(f"line {at}: digits are wanted")
    if len(when) != 14 or len(psn) not in (0, 2) or len(expiry) not in (0, 4) or int(atc) > 0xFFFF or len(amount) > 12:
        raise FileFault(f"line {at}: a field has another length")
    if state not in ("paid", "listed"):
        raise FileFault(f"line {at}: no such state")
    try:
        data = bytes.fromhex(icc_data)
    except ValueError:
        raise FileFault(f"line {at}: DE55 is not hexadecimal") from None
    if len(data) > 255 or len(pan) > 19:
        raise FileFault(f"line {at}: more than a message carries")
    kept: TapState = "paid" if state == "paid" else "listed"
    tap = Tap(int(number), pan, psn, expiry, int(atc), int(amount), when, route, zone, kept, reason, data)
    if kept == "paid" and not (tap.certificate and 8 <= len(pan) <= 19):
        raise FileFault(f"line {at}: no certificate, or no card")
    return tap


def digest_of(body: bytes) -> str:
    """What an answer names a file by: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(body).hexdigest()[:16]


def sealed(lines: list[str]) -> bytes:
    """Lines with the line that proves them whole."""
    text = "\n".join(lines).encode()
    return text + f"\n{END}{_BAR}{digest_of(text)}".encode()


def opened(body: bytes) -> list[str]:
    """The lines of what `sealed` made, the last one checked and gone. Raises FileFault."""
    text, _, last = body.rpartition(b"\n")
    if not text or last != f"{END}{_BAR}{digest_of(text)}".encode():
        raise FileFault("the last line: cut off, or changed on the way")
    try:
        return text.decode().split("\n")
    except UnicodeDecodeError:
        raise FileFault("not text") from None


def write_page(lists: Lists, begin: int, size: int) -> bytes:
    """Entries of the lists from `begin` (0) on, at most `size` of them."""
    entries = entries_of(lists)
    page = entries[begin : begin + size]
    return sealed([_BAR.join((LIST, str(lists.version), str(len(entries)), str(begin))), *page])


def entries_of(lists: Lists) -> list[str]:
    """The lists as lines: minutes, fares, cards."""
    fares = [_BAR.join(("F", line, zone, str(minor))) for line, zone, minor in lists.fares]
    return [f"N|{lists.again_minutes}", *fares, *(f"B|{pan}" for pan in sorted(lists.blacklist))]


def read_page(body: bytes) -> tuple[int, int, int, list[str]]:
    """Version, number of entries in all, where this page begins, its entries. Raises FileFault."""
    lines = opened(body)
    head = lines[0].split(_BAR)
    if len(head) != 4 or head[0] != LIST or not all(part.isdecimal() for part in head[1:]):
        raise FileFault("line 1: not the head of a list")
    return int(head[1]), int(head[2]), int(head[3]), lines[1:]


def read_lists(version: int, entries: list[str]) -> Lists:
    """Lists out of all their lines. Raises FileFault."""
    minutes, cards, fares = 5, set(), []
    for at, entry in enumerate(entries, 1):
        match entry.split(_BAR):
            case ["N", digits] if digits.isdecimal():
                minutes = int(digits)
            case ["F", line, zone, digits] if digits.isdecimal():
                fares.append((line, zone, int(digits)))
            case ["B", pan] if pan.isdecimal():
                cards.add(pan)
            case _:
                raise FileFault(f"entry {at}: unknown, or not digits")
    return Lists(version, frozenset(cards), tuple(fares), minutes)
