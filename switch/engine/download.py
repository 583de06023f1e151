"""The desk for chip downloads: keys of certification authorities, applications, contactless limits, BINs without PIN.

A list is queried (0820) page by page, a record fetched (0800), a download ended (0800); the switch notes which version
a terminal has fetched and asks for no other until the table changes. Source: UnionPay POS
specification, DE60 and DE62 of the downloads; what 394 to 399 carry is not in it and made like the rest (unverified).
"""

from typing import Any, Final

from switch.engine.books import Terminal
from switch.engine.office import Office
from switch.machine import Link, Now, Out
from switch.wire import tlv
from switch.wire.chips import Entry
from switch.wire.errors import DecodeError, TlvError, WireError
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.private_62 import Listing, write_listing

PAGE_BYTES: Final = 480
"""What stands in one DE62 of a list (512 at most on most links)."""
QUERIES: Final = {("0820", "372"): "4", ("0820", "373"): "4", ("0820", "382"): "5"}
"""Lists, told as entries: the digit of the header that announces them."""
RECORDS: Final = {("0800", "370"): "4", ("0800", "373"): "4", ("0800", "380"): "5"}
"""Records, asked for by what the list said."""
WHOLE: Final = {("0800", "394"): "9", ("0800", "396"): "B", ("0800", "398"): "C"}
"""Lists whose entries are the records."""
ENDS: Final = {
    ("0800", "371"): "4", ("0800", "381"): "5", ("0800", "395"): "9", ("0800", "397"): "B", ("0800", "399"): "C",
}  # fmt: skip
DOWNLOADS: Final = frozenset((*QUERIES, *RECORDS, *WHOLE, *ENDS))
SM2: Final = "373"
NONE, COMPLETE, MORE = "0", "1", "2"


class DownloadDesk:
    """Downloads to terminals that read chips."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def on_terminal(
        self, link: Link, frame: Frame, message: Message, terminal: Terminal, network_code: str, now: Now, out: Out
    ) -> None:
        """One message of a download: 30 for a DE62 that cannot be read."""
        office, fields = self._office, message.fields
        asked = message.mti, network_code
        extra: dict[int, Any] = {}
        after, code = 0, "00"
        try:
            if asked in ENDS:
                after = self._ended(terminal, ENDS[asked], now, out)
            elif asked in RECORDS:
                extra = {62: self._record(RECORDS[asked], network_code, fields[62])}
            else:
                extra = {62: self._page(terminal, asked, fields.get(62, b"100"))}
        except WireError:
            code = "30"
        office.answer(link, frame, message.mti, fields, code, now, out, extra, after)

    def _ended(self, terminal: Terminal, digit: str, now: Now, out: Out) -> int:
        """The terminal has it all: it is not announced again until it changes."""
        version = self._office.chips.versions[digit]
        if terminal.fetched(digit) == version:
            return 0
        terminal.fetch(digit, version)
        self._office.statistics.downloads += 1
        return self._office.post("download", (terminal.tid, digit, version), now, out)

    def _entries(self, digit: str, network_code: str) -> tuple[Entry, ...]:
        chips = self._office.chips
        return chips.sm2_keys if network_code == SM2 else chips.lists[digit]

    def _page(self, terminal: Terminal, asked: tuple[str, str], query: bytes) -> bytes:
        """The entries after those the terminal has: as many as one field holds."""
        received = read_received(query)
        network_code = asked[1]
        if asked in QUERIES:
            items = [entry.listed for entry in self._entries(QUERIES[asked], network_code)]
        else:
            items = [entry.record for entry in self._entries(WHOLE[asked], network_code)]
            if network_code == "396":
                items = [[("DF21", self._limit(terminal))], *items]
        page: tlv.Items = []
        size = 0
        for n, entry in enumerate(items[received:], received):
            size += len(tlv.write(entry))
            if page and size > PAGE_BYTES:
                return write_listing(Listing(MORE, tuple(items_of(items[received:n]))))
            page += entry
        return write_listing(Listing(COMPLETE if page else NONE, tuple(page)))

    def _limit(self, terminal: Terminal) -> bytes:
        """Up to what this merchant asks no PIN, zero where it is not enrolled: the first entry of the BINs' list."""
        chips = self._office.chips
        return bytes.fromhex(f"{chips.no_pin.limit_minor if chips.enrolled(terminal.mid) else 0:012d}")

    def _record(self, digit: str, network_code: str, query: bytes) -> bytes:
        """The record named by 9F06, and 9F22 of a key; status 0 where there is none."""
        try:
            wanted = tlv.read(query)
        except TlvError as error:
            raise DecodeError(62, error.offset or 0, error.reason) from None
        tags = ("9F06", "9F22") if digit == "4" else ("9F06",)
        name = [tlv.find(wanted, tag) for tag in tags]
        for entry in self._entries(digit, network_code):
            if [tlv.find(entry.record, tag) for tag in tags] == name:
                return write_listing(Listing(COMPLETE, tuple(entry.record)))
        return write_listing(Listing(NONE, ()))


def items_of(entries: list[tlv.Items]) -> tlv.Items:
    """Entries one after another."""
    return [item for entry in entries for item in entry]


def read_received(query: bytes) -> int:
    """How many entries a terminal has: `1` and two digits, or more where a list is longer. Raises DecodeError."""
    if not (3 <= len(query) <= 6 and query.isdigit() and query[:1] == b"1"):
        raise DecodeError(62, 0, "not 1 and two digits or more")
    return int(query[1:])
