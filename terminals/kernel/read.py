"""Initiate application processing and read application data (EMV Book 3, 10.1 and 10.2)."""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from switch.wire import apdu, dol, tlv
from switch.wire.errors import TlvError
from terminals.flow import Flow
from terminals.kernel.session import Ended, Session, exchange

MANDATORY: Final = ("5F24", "5A", "8C", "8D")
_OPEN_FILES_MAX: Final = 10


class Place(NamedTuple):
    """A record to read; `signed`: its data are part of what offline data authentication covers."""

    sfi: int
    record: int
    signed: bool


@lru_cache(256)
def places(afl: bytes) -> tuple[Place, ...]:
    """The records of an application file locator. Raises TlvError where EMV Book 3, 10.2 forbids it."""
    if not afl or len(afl) % 4:
        raise TlvError("94", 0, "not groups of four bytes")
    found: list[Place] = []
    for at in range(0, len(afl), 4):
        head, first, last, signed = afl[at : at + 4]
        sfi = head >> 3
        if head & 7 or not 1 <= sfi <= 30 or not first or last < first or signed > last - first + 1:
            raise TlvError("94", at, "no such records")
        found += [Place(sfi, number, number < first + signed) for number in range(first, last + 1)]
    return tuple(found)


def initiate(session: Session, pdol: bytes) -> Flow[int]:
    """GET PROCESSING OPTIONS: the status word. After 9000 the session has AIP and AFL and what else came with them.

    Raises Ended, TlvError.
    """
    values = session.values
    session.pdol_values = dol.build(pdol, values)
    data, sw = yield from exchange(apdu.gpo(session.pdol_values))
    if sw != apdu.OK:
        return sw
    known = _layouts().get(len(data))
    parts = known.cut(data) if known is not None else ()
    if known is not None and parts[::2] == known.heads:
        values.update(zip(known.tags, parts[1::2], strict=True))
    else:
        _options(session, data)
    aip, session.afl = values.get("82", b""), values.get("94", b"")
    if len(aip) != 2:
        raise Ended("ended", "data")
    session.aip = aip[0] << 8 | aip[1]
    return sw


def _options(session: Session, data: bytes) -> None:
    """Take the elements of an answer to GPO, in either of its formats. Raises Ended, TlvError."""
    items = tlv.read(data)
    if len(items) != 1:
        raise Ended("ended", "data")
    tag, value = items[0]
    if tag == "80" and len(value) >= 6:
        session.values["82"], session.values["94"] = value[:2], value[2:]
    elif tag == "77":
        items = tlv.read(value)
        keep(session, items)
        if items and tlv.write(items) == value and _TERMINALS_OWN.isdisjoint(tag for tag, _ in items):
            _layouts()[len(data)] = _layout(data[: -len(value)], items)
    else:
        raise Ended("ended", "data")


class _Layout(NamedTuple):
    """An answer to GPO in format 77, cut into heads (tags and lengths) and values by turns."""

    cut: Callable[[bytes], tuple[bytes, ...]]
    heads: tuple[bytes, ...]
    tags: tuple[str, ...]


@lru_cache(maxsize=1)
def _layouts() -> dict[int, _Layout]:
    """By length: how the last such answer was laid out, no element twice and none the terminal's. A card's next one,
    and its sisters', differ in the values alone: with the same heads they are cut at once (4.4 us; 1.3)."""
    return {}


def _layout(template: bytes, items: tlv.Items) -> _Layout:
    heads = [bytes.fromhex(tag) + tlv.written_size(len(value)) for tag, value in items]
    heads[0] = template + heads[0]
    sizes = [f"{len(head)}s{len(value)}s" for head, (_, value) in zip(heads, items, strict=True)]
    return _Layout(Struct("".join(sizes)).unpack, tuple(heads), tuple(tag for tag, _ in items))


_TERMINALS_OWN: Final = frozenset(
    (
        "84", "8A", "95", "9A", "9B", "9C", "5F2A", "9F02", "9F03", "9F06", "9F09", "9F1A", "9F1E", "9F21", "9F33",
        "9F34", "9F35", "9F37", "9F40", "9F41", "9F4E", "9F66", "9F7A", "DF69",
    )
)  # fmt: skip
"""What is the terminal's to say, whatever a card writes into its records."""


def keep(session: Session, items: tlv.Items, seen: set[str] | None = None) -> None:
    """Take elements from the card; an element twice ends the transaction, the terminal's own are not taken."""
    values = session.values
    seen = set() if seen is None else seen
    for tag, value in items:
        if tag in seen:
            raise Ended("ended", "repeated")
        seen.add(tag)
        if tag not in _TERMINALS_OWN:
            values[tag] = value


def records(session: Session) -> Flow[None]:
    """READ RECORD over the AFL; the session has all elements, and what is signed. Raises Ended, TlvError."""
    signed: list[bytes] = []
    seen: set[str] = set()
    for sfi, number, is_signed in places(session.afl):
        data, sw = yield from exchange(apdu.read_record(sfi, number))
        if sw != apdu.OK:
            raise Ended("ended", "status")
        items = tlv.read(data)
        if len(items) != 1 or items[0][0] != "70":
            raise Ended("ended", "data")
        body = items[0][1]
        keep(session, tlv.read(body), seen)
        if is_signed:
            signed.append(body if sfi <= _OPEN_FILES_MAX else data)
    session.signed = b"".join(signed)


def account(session: Session) -> None:
    """The card number out of 5A or 57, which must not differ. Raises Ended."""
    values = session.values
    pan = values["5A"].hex().rstrip("f") if "5A" in values else ""
    on_track = ""
    if "57" in values:
        on_track, separator, rest = values["57"].hex().partition("d")
        if not separator or not on_track.isdecimal() or not rest[:7].isdecimal() or len(rest) < 7:
            raise Ended("ended", "data")
    if pan and on_track and pan != on_track:
        raise Ended("ended", "account_differs")
    pan = pan or on_track
    if not (pan.isdecimal() and 8 <= len(pan) <= 19):
        raise Ended("ended", "data" if pan else "missing")
    if not _is_date(values.get("5F24")) or not _is_date(values.get("5F25")):
        raise Ended("ended", "data")
    psn = values.get("5F34", b"\x00")
    if len(psn) != 1 or not psn.hex().isdecimal():
        raise Ended("ended", "data")
    session.pan = pan


def _is_date(value: bytes | None) -> bool:
    if value is None:
        return True
    digits = value.hex()
    return len(value) == 3 and digits.isdecimal() and "01" <= digits[2:4] <= "12" and "01" <= digits[4:] <= "31"


def number(value: bytes | None) -> int | None:
    """A numeric (BCD) element as an integer, None for one that is absent or has other digits."""
    if value is None:
        return None
    digits = value.hex()
    return int(digits) if digits.isdecimal() else None


def get_data(tag: str) -> Flow[bytes | None]:
    """GET DATA: the element's value, or None where the card does not give it (or gives something else)."""
    data, sw = yield from exchange(apdu.get_data(tag))
    if sw != apdu.OK:
        return None
    try:
        items = tlv.read(data)
    except TlvError:
        return None
    return items[0][1] if len(items) == 1 and items[0][0] == tag else None
