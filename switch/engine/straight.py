"""The straight way: an ordinary authorization, from frame to frame, in as few steps as Python has for it.

A hot room. The desks (`authorize`, `admit`, `outward`, `office`) define what is right; this does the same for the kinds
of request they have let pass before, and for those only. Whatever is unusual, and be it a wrong MAC, is left to them
before anything has happened: `request` and `reply` then say False. Both ways ask for the same effects, byte for byte
(tests/test_straight.py). What it bought: two fifths of an authorization's CPU (docs/performance.md).
"""

from collections.abc import Callable
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from switch.crypto.errors import CryptoError
from switch.engine import chips
from switch.engine.books import Exchange, Terminal
from switch.engine.counterpart import Counterpart, reject_of
from switch.engine.office import CHIP_CLASSES, HASH, STORE, Office
from switch.engine.outward import available, merchant_name, net60
from switch.engine.shapes import (
    NET_HEAD,
    POS_HEAD,
    Requests,
    Way,
    answer_of,
    chip_fields,
    kind_of,
    outward_of,
    plain,
    replies_of,
    requests_of,
)
from switch.machine import Link, Now, Out, Send
from switch.wire.careful import narrow
from switch.wire.codec import QUIET
from switch.wire.errors import WireError
from switch.wire.framing import Frame
from switch.wire.mab import covered
from switch.wire.message import Message
from switch.wire.private import read_sm_pin, write_sm_pin
from switch.wire.redact import mask_pan
from switch.wire.transactions import APPROVED, BATCH_ITEMS_MAX

if TYPE_CHECKING:
    from switch.engine.authorize import AuthorizeDesk

KEPT: Final = 4096
"""Terminals whose keys stand ready."""
SHAPES: Final = 256
"""Shapes of messages known on a link, kinds of one shape, answers to one kind; beyond that all are learnt anew."""
NOTHING: Final = "000000000000"
WRONG_MAC, IN_ORDER, PIN_UNUSABLE, FORMAT_ERROR = "A0", "00000", "99", "30"

CardKeys: TypeAlias = tuple[Callable[[str, str], bytes], Callable[[bytes], bytes]]
"""What seals a card number with its RRN, and what hashes it."""

_new: Final = tuple.__new__
"""A Send without the call of its own constructor (0.2 us)."""


class TerminalKeys:
    """What a terminal needs at every message: its MAC, its PIN translators by counterpart, its merchant as DE43."""

    __slots__ = ("mac", "merchant", "translators")

    def __init__(self, mac: Callable[[bytes], bytes], merchant: str) -> None:
        self.mac = mac
        self.merchant = merchant
        self.translators: dict[str, Callable[[str, bytes], bytes]] = {}


class Straight:
    """The way past the desks. `desk` is the careful one, which takes over wherever an authorization does not go on."""

    def __init__(self, office: Office, desk: "AuthorizeDesk") -> None:
        self._office = office
        self._desk = desk
        self._requests: dict[bytes, Requests | None] = {}
        self._replies: dict[tuple[str, bytes], Callable[[bytes], tuple[Any, ...]] | None] = {}
        self._keys: dict[str, TerminalKeys] = {}
        self._line_macs: dict[str, Callable[[bytes], bytes]] = {}
        self._cards: CardKeys | None = None
        self._fronts: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}
        office.hsm.tell(self._key_changed)

    # what it knows

    def forget(self) -> None:
        """Profile, terminals or chip table are others now: everything is learnt anew, for what is under way too."""
        for requests in self._requests.values():
            for way in requests.ways.values() if requests is not None else ():
                way.answers.clear()
        for known in (self._requests, self._replies, self._keys, self._line_macs, self._fronts):
            known.clear()

    def _key_changed(self, label: str) -> None:
        kind, _, owner = label.partition("/")
        if kind in ("tmk", "tdk", "mak", "pik"):
            self._keys.pop(owner, None)
        else:
            self._keys.clear()
            self._line_macs.clear()
            self._cards = None

    def sent(
        self, exchange: Exchange, message: Message, terminal: Terminal, counterpart: Counterpart, fields: dict[int, Any]
    ) -> None:
        """A desk has sent this on as `fields`: the next of its kind may go straight."""
        office, asked = self._office, message.fields
        head, where = message.raw[:POS_HEAD], (counterpart.name, terminal.suite)
        if not plain(exchange.row, asked) or office.pads or self._requests.get(head, head) is None:
            return
        kind = kind_of(asked)
        if head not in self._requests:
            if len(self._requests) >= SHAPES:
                self._requests.clear()
            self._requests[head] = requests_of(office.codec, head)
        requests = self._requests[head]
        if requests is None:
            return
        way = requests.ways.get(kind)
        if way is None:
            if len(requests.ways) >= SHAPES:
                requests.ways.clear()
            way = requests.ways[kind] = Way(exchange, asked, chips.looks(office, exchange, asked))
        self._take_line(counterpart)
        writer = outward_of(counterpart, way, fields)
        if writer is not None:
            way.outward[where] = writer

    def replied(
        self, counterpart: Counterpart, message: Message, exchange: Exchange, way: Way, fields: dict[int, Any]
    ) -> None:
        """A desk has answered a straight request with `fields`: the next such answer of the network may go straight."""
        head = message.raw[:NET_HEAD]
        where = (counterpart.name, head)
        if where not in self._replies:
            if len(self._replies) >= SHAPES:
                self._replies.clear()
            self._replies[where] = replies_of(counterpart.codec, head)
        if len(way.answers) >= SHAPES:
            way.answers.clear()
        way.answers[head, exchange.response_code] = answer_of(self._office.codec, exchange, fields)

    def _keys_of(self, terminal: Terminal) -> TerminalKeys | None:
        """The ready keys of a terminal; None where it has none, or where the MAC does not cover its names as they
        are."""
        office, label = self._office, f"mak/{terminal.tid}"
        names = terminal.tid + terminal.mid + terminal.mcc
        if label not in office.hsm or not names.isalnum() or covered(names) != names.encode():
            return None
        if len(self._keys) >= KEPT:
            self._keys.clear()
        mac = office.hsm.mac_function(label, office.mac_algorithm(terminal))
        keys = self._keys[terminal.tid] = TerminalKeys(mac, narrow(merchant_name(terminal.merchant_name)))
        return keys

    def _take_line(self, counterpart: Counterpart) -> None:
        """Have the MAC key of a line at hand, if it has its keys."""
        if counterpart.ready:
            mac = self._office.hsm.mac_function(counterpart.zak, counterpart.profile.keys.mac)
            self._line_macs[counterpart.name] = mac

    def _take_cards(self) -> CardKeys:
        hsm = self._office.hsm
        self._cards = hsm.number_sealer(STORE), hsm.hash_function(HASH)
        return self._cards

    def _translated(
        self, keys: TerminalKeys, terminal: Terminal, counterpart: Counterpart, pan: str, block: bytes, de63: bytes
    ) -> bytes:
        """The PIN block for the network's message. Raises WireError and CryptoError: it cannot be used."""
        suite, line = self._office.pos.suites[terminal.suite], counterpart.profile.keys  # type: ignore[index]
        if suite.pin_carrier != "de52":
            block = read_sm_pin(de63)
        translate = keys.translators.get(counterpart.name)
        if translate is None:
            translate = keys.translators[counterpart.name] = self._office.hsm.pin_translator(
                f"pik/{terminal.tid}", suite.pin_format, counterpart.zpk, line.pin_format
            )
        block = translate(pan, block)
        return block if line.pin_carrier == "de52" else write_sm_pin(block)

    def _front(self, frame: Frame, tid: str) -> tuple[bytes, bytes]:
        """TPDU and header of the answer to a frame; the same for all frames of terminals without a chip reader."""
        front = self._office.front(frame, tid)
        if not frame.header or frame.header[0] not in CHIP_CLASSES:
            if len(self._fronts) >= SHAPES:
                self._fronts.clear()
            self._fronts[frame.tpdu, frame.header] = front
        return front

    # a terminal asks

    def request(self, link: Link, frame: Frame, now: Now, out: Out) -> bool:
        """Send a terminal's request on. False: nothing has happened, and a desk is to look at it."""
        office, body = self._office, frame.body
        requests = self._requests.get(body[:POS_HEAD])
        if requests is None or office.full or now.late > office.limits.late_max_s:
            return False
        try:
            values = requests.read(body)
        except QUIET:
            return False
        kind, pan, amount, stan, _, _, track, tid, mid, _, _, _, de60, mac = values
        way, books = requests.ways.get(kind), office.books
        terminal = books.terminals.get(tid)
        if way is None or terminal is None or terminal.mid != mid or terminal.status != "active":
            return False
        batch = terminal.batch_text
        if not terminal.signed_in or de60[2:8] != batch:
            return False
        keys = self._keys.get(tid) or self._keys_of(terminal)
        if keys is None or not compare_digest(keys.mac(body[:-8]), mac):
            return False
        key = (tid, batch, stan)
        if key in books.exchanges or key in books.unknown_reversals:
            return False
        row = way.row
        items = books.batches.get((tid, batch), ())
        if (row.amount and amount == NOTHING) or (len(items) >= BATCH_ITEMS_MAX and row.sign):
            return False
        pan = pan or track.partition("D")[0]
        if not (13 <= len(pan) <= 19 and pan.isdigit()):
            return False
        name, card = office.routes.of(pan)
        counterpart, writer = office.counterparts.get(name), way.outward.get((name, terminal.suite))
        if counterpart is None or writer is None or office.limits.exceeded(counterpart, row):
            return False
        if counterpart.line is None or counterpart.keys_awaited or name not in self._line_macs:
            return False  # what `ready` says, as long as the line's MAC key stands here
        if office.links.get(tid) is not link:
            office.heard(terminal, link, out)
        self._carry(link, frame, (way, values), pan, card, terminal, keys, counterpart, writer, now, out)
        return True

    def _carry(
        self, link: Link, frame: Frame, asked: tuple[Way, tuple[Any, ...]], pan: str, card: str, terminal: Terminal,
        keys: TerminalKeys, counterpart: Counterpart, writer: Callable[..., tuple[bytes, str]], now: Now, out: Out,
    ) -> None:  # fmt: skip
        """An admitted request: number it, remember it, and send it on after its row."""
        office, (way, values) = self._office, asked
        _, _, amount, stan, expiry, psn, track, tid, mid, block, de63, icc, _, _ = values
        clock, date, day = office.local(now)
        rrn, row, mcc = office.books.next_rrn(day), way.row, terminal.mcc
        seal, digest = self._cards or self._take_cards()
        # By place: by name, or set one after the other, costs 0.7 us. Not the message's own texts: 120 bytes.
        exchange = Exchange(
            row.name, row, terminal.mid, terminal.tid, terminal.batch_text, stan, int(amount), way.currency,
            way.entry_mode, psn, mcc, rrn, seal(pan, rrn), mask_pan(pan), digest(pan.encode()).hex(), card,
            link, frame, asked,
        )  # fmt: skip
        office.books.add(exchange)
        if way.looks:
            code = chips.object_to(office, exchange, chip_fields(way, values), pan)
            if code:
                self._desk.decline(exchange, code, now, out)
                return
        profile = counterpart.profile
        exchange.counterpart, exchange.on_us = counterpart.name, counterpart.own
        exchange.acquirer, exchange.forwarder = profile.acquirer, profile.forwarder
        exchange.net_time, exchange.net_stan = counterpart.number(now)
        if way.pin:
            try:
                block = self._translated(keys, terminal, counterpart, pan, block, de63)
            except (CryptoError, WireError):
                self._desk.decline(exchange, PIN_UNUSABLE, now, out)
                return
        exchange.line = line = counterpart.line
        if not counterpart.inflight.add(exchange, now.mono, out):
            office.statistics.violations["link_key_reused"] += 1
        number = office.journal(exchange, "sent", now, out)
        try:
            body, text = writer(
                pan, amount, exchange.net_time, exchange.net_stan, clock, date, expiry, mcc, psn,
                track.replace("D", "="), rrn, tid, mid, keys.merchant, block, icc,
                net60(counterpart, exchange) if way.looks else "",
            )  # fmt: skip
        except QUIET:  # more than the network's dialect can carry
            counterpart.inflight.take(exchange.net_key)
            self._desk.decline(exchange, FORMAT_ERROR, now, out)
            return
        body += self._line_macs[counterpart.name](text.encode())
        counterpart.sent += 1
        out.append(_new(Send, (line.says, body, counterpart.header(len(body)), b"", number)))  # type: ignore[union-attr]

    # the other side answers

    def reply(self, counterpart: Counterpart, frame: Frame, now: Now, out: Out) -> bool:
        """Pass the network's answer on to its terminal. False: nothing has happened, and a desk is to look at it."""
        office, header, body = self._office, frame.header, frame.body
        head = body[:NET_HEAD]
        read = self._replies.get((counterpart.name, head))
        mac_of = self._line_macs.get(counterpart.name)
        if read is None or mac_of is None:
            return False
        try:
            if counterpart.profile.framing.header and reject_of(header, len(header) + len(body)) != IN_ORDER:
                return False
            mti, key, code, auth, settled, receiver, amount, tid, mid, rrn, balance, icc, mac, text = read(body)
            if not compare_digest(mac_of(covered(text)), mac.encode("latin-1")):
                return False
        except (WireError, *QUIET):
            return False
        exchange = counterpart.inflight.waiting(key)
        if exchange is None or exchange.asked is None or exchange.deadline <= now.mono or code == WRONG_MAC:
            return False
        (way, asked), link = exchange.asked, exchange.link
        row = way.row
        if mti != way.reply_mti or tid != exchange.tid or mid != exchange.mid or rrn not in (None, exchange.rrn):
            return False
        if (row.amount and int(amount) != exchange.amount) or receiver == "" or exchange.state != "sent":
            return False
        keys = self._keys.get(tid) or self._keys_of(office.books.terminals[tid])
        response = counterpart.profile.response_map.get(code, code)
        writer = way.answers.get((head, response))
        if writer is None or keys is None or link is None or link.closed:
            return False
        _, pan, amount, stan, expiry, _, _, _, _, _, _, _, de60, _ = asked
        clock, date, _ = office.local(now)
        institutions = f"{receiver:<11.11}{exchange.acquirer:<11.11}" if receiver else ""
        try:
            body = writer(
                pan, amount, stan, clock, date, expiry, settled, exchange.rrn, auth, tid, mid, keys.merchant,
                institutions, available(balance) if balance else "", icc, de60,
            )  # fmt: skip
        except QUIET:  # more than the terminals' dialect can carry
            return False
        approved = response in APPROVED
        if approved:
            body += keys.mac(body)
        asked_with = exchange.frame
        tpdu, front = self._fronts.get(asked_with[:2]) or self._front(asked_with, tid)  # type: ignore[index,arg-type]
        counterpart.inflight.take(key)
        number = self._desk.decide(counterpart, exchange, response, auth, settled, receiver or "", now, out)
        self._desk.count(exchange)
        exchange.let_go()
        office.statistics.replies += 1
        out.append(_new(Send, (link, body, front, tpdu, number if approved else 0)))
        return True
