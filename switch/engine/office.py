"""What all desks share: the books, the keys, the counterparts, and the two things every desk does: write a row, answer.

The engine makes one Office and hands it to each desk.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from switch.crypto.hsm import Hsm
from switch.engine.books import STAND_IN_MTI, Books, Exchange, Terminal
from switch.engine.counterpart import BEIJING_S, Counterpart
from switch.engine.limits import USUAL_LIMITS, Limits
from switch.engine.route import Routes
from switch.engine.share import Tell
from switch.engine.statistics import Statistics
from switch.machine import REPLACED, SHARED, Close, Link, Now, Out, Post, Send
from switch.wire.chips import ChipTable
from switch.wire.codec import codec_of
from switch.wire.errors import EncodeError
from switch.wire.framing import Frame, reply_header, reply_tpdu
from switch.wire.profile import PosProfile, dialect_of, rows_by_key
from switch.wire.redact import mask_pan
from switch.wire.transactions import APPROVED, reply_mti

_new: Final = tuple.__new__
"""A Post without the call of its own constructor (0.2 us)."""

STORE = "store/journal"
HASH = "hash/journal"

CHIP_CLASSES = (0x61, 0x63)
"""Application classes of terminals that read chips, in the header's first byte."""

_ECHOED = (2, 3, 4, 11, 14, 25, 41, 42, 49, 53, 60, 61)
"""Fields of a financial request that its reply carries unchanged."""


class Office:
    """Shared state of the desks; `pos` is the terminals' profile, `acquirer` the institution in their replies, `chips`
    what terminals are told about chips."""

    def __init__(
        self,
        books: Books,
        hsm: Hsm,
        counterparts: Mapping[str, Counterpart],
        routes: Routes,
        pos: PosProfile,
        acquirer: str,
        chips: ChipTable,
        limits: Limits = USUAL_LIMITS,
    ) -> None:
        self.limits = limits
        self.chips = chips
        self.books = books
        self.hsm = hsm
        self.counterparts = dict(counterparts)
        self._waiting = [counterpart.inflight.requests for counterpart in counterparts.values()]
        self.routes = routes
        self.use(pos)
        self.acquirer = acquirer
        self.statistics = Statistics()
        self.links: dict[str, Link] = {}
        self.tell: Tell = lambda news: None
        self._seen: Now | None = None
        self._second = 0
        self._day = ("", "", 0)

    def use(self, pos: PosProfile) -> None:
        """Speak to terminals by this profile from now on."""
        self.pos = pos
        self.codec = codec_of(dialect_of(pos))
        self.rows = rows_by_key(pos)
        self._macs: dict[str, str] = {suite: section.mac for suite, section in pos.suites.items()}
        self.books.load_sign = {"none": 0, "debit": 1, "credit": -1}[pos.chips.loads]

    # who is at the other end

    def heard(self, terminal: Terminal, link: Link, out: Out) -> None:
        """A message under this terminal's own key came over this link: it is no stranger's, and a connection of the
        terminal that it had before is closed, unless other terminals share it (a concentrator's)."""
        if self.links.get(terminal.tid) is link:
            return
        older = self.links.get(terminal.tid)
        self.links[terminal.tid] = link
        self.met(terminal, link)
        if older is not None and not older.closed and older.peer == terminal.tid:
            out.append(Close(older, REPLACED))

    def met(self, terminal: Terminal, link: Link) -> None:
        """This terminal is at the other end, perhaps among others."""
        link.peer = terminal.tid if link.peer in ("", terminal.tid) else SHARED

    # the clock as fields

    def local(self, now: Now) -> tuple[str, str, int]:
        """DE12 hhmmss, DE13 MMDD and the day of the year, in Beijing time."""
        if now is self._seen:  # asked twice by each of a turn's messages (0.3 us)
            return self._day
        self._seen = now
        second = int(now.wall)
        if second != self._second:
            moment = time.gmtime(second + BEIJING_S)
            self._second = second
            self._day = (time.strftime("%H%M%S", moment), time.strftime("%m%d", moment), moment.tm_yday)
        return self._day

    # rows

    def post(self, table: str, values: tuple[Any, ...], now: Now, out: Out) -> int:
        """Post one row; its number is what a Send may wait for."""
        number = self.books.next_row()
        out.append(Post(number, table, (number, int(now.wall * 1000), *values)))
        return number

    def journal(
        self,
        exchange: Exchange,
        state: str,
        now: Now,
        out: Out,
        reason: str = "",
        saf_key: tuple[str, str] = ("", ""),
    ) -> int:
        """One journal row: this exchange has come to `state`."""
        exchange.state = state
        original, books = exchange.original, self.books
        number = exchange.written = books.row_last = books.row_last + 1
        # `post`, without the calls and the second tuple (0.5 us)
        row = (
            number, int(now[1] * 1000), state, exchange.kind, exchange.mid, exchange.tid, exchange.batch, exchange.stan,
            exchange.counterpart, STAND_IN_MTI if exchange.stood_in else exchange.row.network_mti, exchange.net_time,
            exchange.net_stan, exchange.acquirer, exchange.forwarder, exchange.receiver, exchange.rrn, exchange.amount,
            exchange.currency, exchange.entry_mode, exchange.mcc, 1 if exchange.on_us else 0, exchange.response_code,
            exchange.auth_code, exchange.settlement_date, reason, original.rrn if original else "",
            saf_key[0], saf_key[1], exchange.pan_sealed, exchange.pan_masked, exchange.pan_hash, exchange.card,
            exchange.psn, exchange.atc, exchange.read, self._seal_icc(exchange) if exchange.icc else b"",
        )  # fmt: skip
        out.append(_new(Post, (number, "journal", row)))
        return number

    # cards

    def seal_card(self, exchange: Exchange, pan: str) -> None:
        """Put a PAN into an exchange in the three forms it may be kept in."""
        exchange.pan_sealed = self.hsm.number_sealer(STORE)(pan, exchange.rrn)
        exchange.pan_masked = mask_pan(pan)
        exchange.pan_hash = self.card_hash(pan)

    def _seal_icc(self, exchange: Exchange) -> bytes:
        return self.hsm.seal(STORE, exchange.icc, b"55" + exchange.rrn.encode())

    def open_icc(self, rrn: str, sealed: bytes) -> bytes:
        """What `journal` sealed of DE55."""
        return self.hsm.open(STORE, sealed, b"55" + rrn.encode())

    def card_hash(self, pan: str) -> str:
        return self.hsm.keyed_hash(HASH, pan.encode()).hex()

    def open_card(self, exchange: Exchange) -> str:
        return self.hsm.open_number(STORE, exchange.pan_sealed, exchange.rrn)

    # answers to terminals

    def request_of(self, exchange: Exchange) -> dict[int, Any] | None:
        """The fields of the request that an exchange owes an answer to, if it does: read again where it went
        straight."""
        if exchange.asked is not None and exchange.frame is not None:
            return self.codec.decode(exchange.frame.body).fields
        return exchange.request

    def answer(
        self,
        link: Link,
        frame: Frame,
        mti: str,
        request: Mapping[int, Any],
        code: str,
        now: Now,
        out: Out,
        extra: Mapping[int, Any] | None = None,
        after: int = 0,
        terminal: Terminal | None = None,
    ) -> None:
        """Answer a terminal's request `mti` with response code `code`.

        With a `terminal`, an approval carries DE64 under its MAK; `extra` fields stand over the echoed ones. The bytes
        wait for row `after`.
        """
        if link.closed:
            self.statistics.undelivered += 1
            return
        fields = self.answer_fields(request, code, now, extra)
        answer_mti = reply_mti(mti)
        try:
            body = self._finish(answer_mti, fields, terminal if code in APPROVED else None)
        except EncodeError:
            # an echoed field that only a lenient acquirer accepts: answer without what cannot be said
            self.statistics.unsayable += 1
            body = self._finish(answer_mti, {de: fields[de] for de in (11, 12, 13, 39) if de in fields}, None)
        tpdu, header = self.front(frame, request.get(41, ""))
        self.statistics.replies += 1
        out.append(Send(link, body, header, tpdu, after))

    def answer_fields(
        self, request: Mapping[int, Any], code: str, now: Now, extra: Mapping[int, Any] | None = None
    ) -> dict[int, Any]:
        """The fields of an answer, less DE64; `extra` stand over those it repeats."""
        clock, date, _ = self.local(now)
        fields: dict[int, Any] = {de: request[de] for de in _ECHOED if de in request}
        fields[12], fields[13], fields[32], fields[39] = clock, date, self.acquirer, code
        if extra:
            fields.update(extra)
        return fields

    def front(self, frame: Frame, tid: str) -> tuple[bytes, bytes]:
        """TPDU and header of the answer to a terminal's frame."""
        tpdu, header = frame.tpdu, frame.header
        if tpdu and self.pos.header.reply_tpdu == "swap":
            tpdu = reply_tpdu(tpdu)
        return tpdu, reply_header(header, self._requirement(header, tid)) if header else b""

    def _requirement(self, header: bytes, tid: str) -> str:
        """Processing requirement of the header: the next list that a chip terminal has not fetched yet, else "0"."""
        if header[0] not in CHIP_CLASSES:
            return "0"
        terminal = self.books.terminals.get(tid)
        if terminal is None or not terminal.signed_in:
            return "0"
        for digit, version in self.chips.versions.items():
            if terminal.fetched(digit) != version:
                return digit
        return "0"

    def _finish(self, mti: str, fields: dict[int, Any], terminal: Terminal | None) -> bytes:
        # Not sorted: the codec writes in the order of the wire whatever the order here (1.1 us).
        if terminal is None:
            return self.codec.encode(mti, fields, self.pads)
        fields[64] = bytes(8)
        body = self.codec.encode(mti, fields, self.pads)
        return body[:-8] + self.hsm.mac(f"mak/{terminal.tid}", self.mac_algorithm(terminal), body[:-8])

    @property
    def pads(self) -> dict[int, str] | None:
        return {int(de): nibble for de, nibble in self.pos.pads.items()} if self.pos.pads else None

    def mac_algorithm(self, terminal: Terminal) -> str:
        return self._macs[terminal.suite]

    @property
    def full(self) -> bool:
        """Whether as many requests wait for an answer as may."""
        return sum(map(len, self._waiting)) >= self.limits.admitted_max

    def counterpart(self, name: str) -> Counterpart | None:
        return self.counterparts.get(name)
