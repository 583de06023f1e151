"""Downloads for chips: CA keys, applications, contactless limits, and the cards that pay without PIN (双免).

A list is asked for page by page, then each of its records, then the end is told. What came is put into the reader
before the end message, all of it or nothing, and the next transaction goes by it. Lists replace what the terminal had;
an empty one changes nothing. See docs/chip-flows.md, Downloads.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from switch.wire import tlv
from switch.wire.errors import DecodeError, TlvError
from switch.wire.private_62 import Listing, read_listing
from terminals.device.dialogue import SILENCE, BadReply, Line, Outcome, administration, ask, plain, reason_of
from terminals.device.memory import Memory
from terminals.device.reader import Reader
from terminals.flow import Flow
from terminals.kernel.parameters import Aid, ParameterFault, Parameters

NONE, MORE = "0", "2"
PAGES_MAX: Final = 200
_AID, _INDEX, _BIN, _LIMIT = "9F06", "9F22", "42", "DF21"

Entry = list[tuple[str, bytes]]
Take = Callable[[Reader, list[Entry]], None]


class Download(NamedTuple):
    """One download: MTI and DE60.3 of its lists, DE60.3 of their records ("" where a list holds them), of the end; the
    tags its entries begin with; what is done with the entries."""

    name: str
    lists: tuple[tuple[str, str], ...]
    record: bool
    end: str
    heads: tuple[str, ...]
    take: Take


def download(memory: Memory, line: Line, digit: str) -> Flow[Outcome]:
    """The download that a digit of the header announces: 4 CA keys, 5 applications, 9 contactless limits, B cards
    without PIN, C cards never without. KeyError for another digit, ValueError for a terminal that reads no chips.

    "declined" with reason "bad reply" for a list or record that does not read; nothing is taken then.
    """
    wanted, reader = DOWNLOADS[digit], memory.reader
    if reader is None:
        raise ValueError("this terminal reads no chips")
    try:
        found: list[Entry] = []
        for mti, code in wanted.lists:
            entries = yield from _list(memory, line, mti, code, wanted.heads)
            if wanted.record:
                entries = yield from _records(memory, line, code, entries)
            found += entries
        if found:
            wanted.take(reader, found)
        reply = yield from ask(memory, line, "0800", plain(line, "0800", administration(memory, wanted.end)))
    except (*SILENCE, BadReply) as error:
        return Outcome(wanted.name, "unknown", reason=reason_of(error))
    except _Refused as refused:
        return Outcome(wanted.name, "declined", refused.code)
    except (DecodeError, TlvError, ParameterFault):
        return Outcome(wanted.name, "declined", reason="bad reply")
    state = "approved" if reply[39] == "00" else "declined"
    return Outcome(wanted.name, state, reply[39], amount_minor=0, fields=reply)


def everything(memory: Memory, line: Line) -> Flow[Outcome]:
    """All downloads, one after the other; the first that fails, else the last."""
    outcome = Outcome("download", "approved", "00")
    for digit in DOWNLOADS:
        outcome = yield from download(memory, line, digit)
        if not outcome.approved:
            break
    return outcome


class _Refused(Exception):
    """The host answered another code than 00."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _list(memory: Memory, line: Line, mti: str, code: str, heads: tuple[str, ...]) -> Flow[list[Entry]]:
    """A whole list, page after page. Raises BadReply for one without end."""
    found: list[Entry] = []
    for _ in range(PAGES_MAX):
        page = yield from _asked(memory, line, mti, code, b"1%02d" % len(found))
        entries = _entries(page, heads)
        found += entries
        if page.status != MORE:
            return found
        if not entries:
            break
    raise BadReply("a list without end")


def _entries(page: Listing, heads: tuple[str, ...]) -> list[Entry]:
    entries: list[Entry] = []
    for tag, value in page.items if page.status != NONE else ():
        if tag in heads:
            entries.append([])
        if not entries:
            raise BadReply("an entry without its head")
        entries[-1].append((tag, value))
    return entries


def _records(memory: Memory, line: Line, code: str, entries: list[Entry]) -> Flow[list[Entry]]:
    """The record of each entry; one that has gone since the list was told is left out."""
    found: list[Entry] = []
    record = _RECORDS[code]
    for entry in entries:
        name = tlv.write([(tag, value) for tag, value in entry if tag in (_AID, _INDEX)])
        page = yield from _asked(memory, line, "0800", record, name)
        if page.status != NONE:
            found.append(list(page.items))
    return found


def _asked(memory: Memory, line: Line, mti: str, code: str, query: bytes) -> Flow[Listing]:
    fields: dict[int, Any] = administration(memory, code) | {62: query}
    reply = yield from ask(memory, line, mti, plain(line, mti, fields))
    if reply[39] != "00":
        raise _Refused(reply[39])
    return read_listing(reply.get(62, b""))


def _keys(reader: Reader, entries: list[Entry]) -> None:
    kernel = reader.kernel
    fresh = Parameters().loaded(ca_keys=map(tlv.write, entries))
    kernel.parameters = replace(kernel.parameters, ca_keys=fresh.ca_keys)


def _applications(reader: Reader, entries: list[Entry]) -> None:
    kernel = reader.kernel
    fresh = Parameters().loaded(aids=map(tlv.write, entries))
    kernel.parameters = replace(kernel.parameters, aids=fresh.aids)


def _limits(reader: Reader, entries: list[Entry]) -> None:
    """The three contactless limits of each application the terminal has."""
    told = {}
    for aid in Parameters().loaded(aids=map(tlv.write, entries)).aids:
        told[aid.aid] = aid
    kernel = reader.kernel
    kernel.parameters = replace(kernel.parameters, aids=tuple(_limited(aid, told) for aid in kernel.parameters.aids))


def _limited(aid: Aid, told: dict[bytes, Aid]) -> Aid:
    new = told.get(aid.aid)
    if new is None:
        return aid
    return replace(aid, tap_floor=new.tap_floor, tap_max=new.tap_max, tap_cvm=new.tap_cvm)


def _bins(entries: list[Entry]) -> frozenset[str]:
    return frozenset(value.hex().rstrip("f") for entry in entries for tag, value in entry if tag == _BIN)


def _without_pin(reader: Reader, entries: list[Entry]) -> None:
    limits = [value.hex() for entry in entries for tag, value in entry if tag == _LIMIT]
    if any(not limit.isdecimal() for limit in limits):
        raise ParameterFault("DF21: digits")
    reader.small_bins = _bins(entries)
    if limits:
        reader.small_max = int(limits[-1])


def _never_without(reader: Reader, entries: list[Entry]) -> None:
    reader.never_small = _bins(entries)


_RECORDS: Final = {"372": "370", "373": "373", "382": "380"}

DOWNLOADS: Final = {
    "4": Download("ca_keys", (("0820", "372"), ("0820", "373")), True, "371", (_AID,), _keys),
    "5": Download("applications", (("0820", "382"),), True, "381", (_AID,), _applications),
    "9": Download("contactless", (("0800", "394"),), False, "395", (_AID,), _limits),
    "B": Download("no_pin_bins", (("0800", "396"),), False, "397", (_BIN, _LIMIT), _without_pin),
    "C": Download("never_without_pin", (("0800", "398"),), False, "399", (_BIN,), _never_without),
}
"""By the digit of the header that announces it."""
