"""The desk for 01x0 and 02x0: a terminal's financial request, the other side's answer, or none.

The way of one authorization: `on_request` admits, routes, numbers, remembers and sends it (once its *sent* row is
durable); `on_reply` matches the answer and passes it on (an approval once its *answered* row is durable);
`on_timeout` gives up, and reverses what may have happened.
"""

from typing import Any

from switch.engine import admit, chips
from switch.engine.books import Exchange, Terminal
from switch.engine.counterpart import Counterpart
from switch.engine.office import Office
from switch.engine.original import find_original
from switch.engine.outward import PinUnusable, available, merchant_name, request_fields
from switch.engine.reverse import ReverseDesk
from switch.engine.standin import REASON as STAND_IN
from switch.engine.standin import auth_code
from switch.engine.statistics import OFF_US, ON_US, UNKNOWN
from switch.engine.straight import Straight
from switch.machine import Link, Now, Out
from switch.wire.errors import WireError
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.transactions import APPROVED, Transaction, reply_mti

WITH_PIN = "1"
"""Last digit of DE22."""
PIN_UNUSABLE, NO_ROUTE, BATCH_FULL = "99", "15", "95"


class AuthorizeDesk:
    """Financial requests and their answers."""

    def __init__(self, office: Office, reverse: ReverseDesk) -> None:
        self._office = office
        self._reverse = reverse
        self.straight = Straight(office, self)

    # a terminal asks

    def on_request(self, link: Link, frame: Frame, message: Message, now: Now, out: Out) -> None:
        """Admit a terminal's request and send it on, or refuse it."""
        office, fields = self._office, message.fields
        row = self._row(message)
        late = now.late > office.limits.late_max_s
        if (late or office.full) and row is not None and not row.advice:
            office.statistics.overloaded += 1
            office.statistics.overloaded_late += late
            self._refuse(link, frame, message, row, office.limits.code, now, out)
            return
        terminal, code = admit.known(office, message)
        if row is None:
            code = code or (admit.INVALID_TRANSACTION if {3, 25, 60} <= fields.keys() else admit.FORMAT_ERROR)
        elif not code:
            code = admit.whole(message, row.mandatory) or admit.names_card(fields) or admit.describes_pin(fields)
        if not code and terminal is not None:
            code = admit.real(office, message, terminal) or admit.in_batch(message, terminal)
        if code or terminal is None or row is None:
            self._refuse(link, frame, message, row, code, now, out)
            return
        office.heard(terminal, link, out)
        key = (terminal.tid, terminal.batch_text, fields[11])
        earlier = office.books.exchanges.get(key)
        if earlier is not None:
            self._repeated(link, frame, message, earlier, row, terminal, now, out)
            return
        exchange = self._open(link, frame, message, row, terminal, now)
        pan = self._pan(fields, terminal)
        if pan is None:
            self.decline(exchange, admit.INVALID_CARD, now, out)
            return
        office.seal_card(exchange, pan)
        code = self._object(exchange, terminal, key, pan)
        if code:
            self.decline(exchange, code, now, out)
            return
        self._send(exchange, message, terminal, pan, now, out)

    def _row(self, message: Message) -> Transaction | None:
        """The row of a request; a notice has DE3 and DE25 of what it speaks of."""
        fields = message.fields
        if message.mti == "0620":
            return self._office.rows.get(("0620", "", "", "00"))
        return self._office.rows.get((message.mti, fields.get(3, ""), fields.get(25, ""), fields.get(60, "")[:2]))

    def _open(
        self, link: Link, frame: Frame, message: Message, row: Transaction, terminal: Terminal, now: Now
    ) -> Exchange:
        office, fields = self._office, message.fields
        exchange = Exchange(row.name, row, terminal.mid, terminal.tid, terminal.batch_text, fields[11])
        exchange.rrn = office.books.next_rrn(office.local(now)[2])
        exchange.amount = int(fields.get(4, "0"))
        exchange.currency = fields[49]
        exchange.entry_mode = fields[22]
        exchange.psn = fields.get(23, "")
        exchange.mcc = terminal.mcc
        if row.voice:
            exchange.auth_code = fields[38]
        exchange.link, exchange.frame, exchange.request = link, frame, fields
        office.books.add(exchange)
        return exchange

    def _pan(self, fields: dict[int, Any], terminal: Terminal) -> str | None:
        """The PAN of DE2 or track 2 (deciphered in place where DE53 says so); None where neither yields one."""
        track = fields.get(35)
        if fields.get(53, "000")[2] == "1":
            try:
                for de in (35, 36):
                    if de in fields:
                        fields[de] = self._office.hsm.decrypt_track(f"tdk/{terminal.tid}", fields[de])
            except (ValueError, KeyError):
                return None
            track = fields.get(35)
        pan: str = fields.get(2) or (track or "").replace("=", "D").partition("D")[0]
        return pan if 13 <= len(pan) <= 19 and pan.isdigit() else None

    def _object(self, exchange: Exchange, terminal: Terminal, key: tuple[str, str, str], pan: str) -> str:
        """What the switch itself has against an authentic request, as a response code."""
        office, row = self._office, exchange.row
        if key in office.books.unknown_reversals:
            return admit.INVALID_TRANSACTION  # its reversal came first
        if row.amount and exchange.amount == 0:
            return admit.INVALID_AMOUNT
        if row.sign and office.books.batch_full(terminal.tid, exchange.batch):
            return BATCH_FULL
        if row.original:
            exchange.original, code = find_original(office.books, exchange, exchange.request or {})
            if code:
                return code
        return chips.object_to(office, exchange, exchange.request or {}, pan)

    def _send(self, exchange: Exchange, message: Message, terminal: Terminal, pan: str, now: Now, out: Out) -> None:
        office = self._office
        original = exchange.original
        name, exchange.card = office.routes.of(pan)
        if original and exchange.row.chip == "notice":
            name = original.counterpart  # it goes where its transaction went, whatever card it names
        counterpart = office.counterpart(name)
        if counterpart is None:
            self.decline(exchange, NO_ROUTE, now, out)
            return
        if office.limits.exceeded(counterpart, exchange.row):
            office.statistics.overloaded += 1
            self.decline(exchange, office.limits.code, now, out)
            return
        exchange.counterpart = name
        exchange.on_us = counterpart.own
        exchange.acquirer = counterpart.profile.acquirer
        exchange.forwarder = counterpart.profile.forwarder
        exchange.net_time, exchange.net_stan = counterpart.number(now)
        if not counterpart.ready:
            if exchange.row.advice:
                self._store(exchange, now, out)
            elif counterpart.stand_in.floor_minor and self._stands_in(exchange, counterpart):
                exchange.stood_in = True
                exchange.auth_code = auth_code(exchange.rrn)
                office.statistics.stood_in += 1
                self._store(exchange, now, out, STAND_IN)
            else:
                self.decline(exchange, counterpart.profile.codes.link_down, now, out)
            return
        try:
            fields = request_fields(office, counterpart, exchange, terminal, pan, now)
        except PinUnusable:
            self.decline(exchange, PIN_UNUSABLE, now, out)
            return
        except WireError:
            self.decline(exchange, admit.FORMAT_ERROR, now, out)
            return
        exchange.line = counterpart.line
        if not counterpart.inflight.add(exchange, now.mono, out):
            office.statistics.violations["link_key_reused"] += 1
        number = office.journal(exchange, "sent", now, out)
        try:
            mac = exchange.row.chip != "notice" or counterpart.profile.chips.notice_mac
            counterpart.send(exchange.row.network_mti, fields, out, after=number, mac=mac)
        except WireError:
            # a field of the terminal's that the network's dialect cannot carry: nothing has left, nothing to reverse
            counterpart.inflight.take(exchange.net_key)
            self.decline(exchange, admit.FORMAT_ERROR, now, out)
            return
        self.straight.sent(exchange, message, terminal, counterpart, fields)

    def _repeated(
        self,
        link: Link,
        frame: Frame,
        message: Message,
        earlier: Exchange,
        row: Transaction,
        terminal: Terminal,
        now: Now,
        out: Out,
    ) -> None:
        """The same STAN again: an advice gets its first answer again, a request 94."""
        office = self._office
        again = row.chip == "offline" and earlier.frame is None and earlier.approved
        if row.advice and not again and self._same(earlier, row, message.fields, terminal):
            if earlier.frame is not None:
                earlier.link, earlier.frame = link, frame  # still on its way: the answer goes to the newer connection
            else:
                extra, after = self._extra(earlier, {}), office.books.row_last  # its row may not be durable yet
                office.answer(
                    link, frame, message.mti, message.fields, chips.told(earlier.response_code), now, out, extra, after,
                    terminal,
                )  # fmt: skip
            return
        office.statistics.duplicates += 1
        self._refuse(link, frame, message, row, admit.DUPLICATE, now, out)

    def _same(self, earlier: Exchange, row: Transaction, fields: dict[int, Any], terminal: Terminal) -> bool:
        """Whether a STAN used again says the same again: kind, amount, card."""
        pan = self._pan(fields, terminal) or ""
        return (
            earlier.kind == row.name
            and earlier.amount == int(fields.get(4, "0"))
            and earlier.pan_hash == self._office.card_hash(pan)
        )

    def _refuse(
        self, link: Link, frame: Frame, message: Message, row: Transaction | None, code: str, now: Now, out: Out
    ) -> None:
        """Answer a request that never became an exchange."""
        self._office.statistics.refused += 1
        self._office.statistics.answered(row.name if row else "unknown", code, False)
        self._office.answer(link, frame, message.mti, message.fields, code, now, out)

    def decline(self, exchange: Exchange, code: str, now: Now, out: Out) -> None:
        """Answer an exchange that does not leave the switch."""
        exchange.response_code = code
        exchange.icc = b""
        number = self._office.journal(exchange, "refused", now, out)
        # a chip's own decline, taken with 00, is forgotten by its terminal: not before it stands here
        self._close(exchange, {}, now, out, number if chips.told(code) in APPROVED else 0)

    def _stands_in(self, exchange: Exchange, counterpart: Counterpart) -> bool:
        """Whether the switch itself approves a sale that the bank's own core cannot be asked about."""
        pin = exchange.entry_mode[2:3] == WITH_PIN or 52 in (exchange.request or {})
        return counterpart.stand_in.approves(exchange, counterpart.own, pin, counterpart.stood_in)

    def _store(self, exchange: Exchange, now: Now, out: Out, reason: str = "") -> None:
        """Accept an advice on the other side's behalf; it is delivered from the store until answered."""
        exchange.response_code = "00"
        number = self._office.journal(exchange, "stored", now, out, reason, exchange.net_key)
        self._office.books.settle_answer(exchange)
        self._reverse.saf.add(exchange, "advice", exchange.net_key, now, out, after=number)
        self._office.statistics.advices_stored += 1
        self._close(exchange, {}, now, out, number)

    # the other side answers

    def on_reply(self, counterpart: Counterpart, message: Message, now: Now, out: Out) -> None:
        """Match an answer, check it, and pass it to the terminal that waits."""
        fields = message.fields
        if not counterpart.mac_holds(message, now.mono):
            self._office.statistics.mac_failures += 1
            counterpart.mac_failures += 1
            return  # no better than silence: the deadline decides
        key = (fields.get(7, ""), fields.get(11, ""))
        exchange = counterpart.inflight.take(key)
        if exchange is not None and exchange.deadline <= now.mono:
            # the process stood still past the deadline: too late, although nobody has noticed yet
            self.on_timeout(counterpart, exchange, now, out)
            exchange = None
        if exchange is None:
            self._late(counterpart, key, message, now, out)
        elif not _echoes(exchange, message):
            self._give_up(counterpart, exchange, "mismatch", now, out)
        else:
            self._conclude(counterpart, exchange, message, now, out)

    def _conclude(self, counterpart: Counterpart, exchange: Exchange, message: Message, now: Now, out: Out) -> None:
        """The answer decides: file it, tell the terminal, and reverse an approval that cannot be told."""
        fields = message.fields
        asked, request, link = exchange.asked, self._office.request_of(exchange), exchange.link
        code = counterpart.profile.response_map.get(fields[39], fields[39])
        number = self.decide(
            counterpart, exchange, code, fields.get(38, ""), fields.get(15, ""), fields.get(100, ""), now, out
        )
        approved = exchange.approved
        self._close(exchange, fields, now, out, number if approved else 0)
        if approved and (link is None or link.closed) and exchange.row.reversible:
            self._reverse.queue(exchange, "undeliverable", now, out)
        if asked is not None and request is not None:
            told = self._office.answer_fields(request, chips.told(code), now, self._extra(exchange, fields))
            self.straight.replied(counterpart, message, exchange, asked[0], told)

    def decide(
        self, counterpart: Counterpart, exchange: Exchange, code: str, auth_code: str, settled: str, receiver: str,
        now: Now, out: Out,
    ) -> int:  # fmt: skip
        """File an answer in the books: response code, DE38, DE15, DE100. The number of its row."""
        office = self._office
        if exchange.state != "sent":
            office.statistics.violations["answered_twice"] += 1
        counterpart.timings.add(now.mono - exchange.deadline + counterpart.inflight.patience_s)
        exchange.response_code = code
        exchange.auth_code = auth_code
        exchange.settlement_date = settled
        exchange.receiver = receiver
        exchange.icc = b""
        if exchange.line is not None:
            exchange.line.silent = 0
            exchange.line = None
        number = office.journal(exchange, "answered", now, out)
        office.books.settle_answer(exchange)
        return number

    def _late(self, counterpart: Counterpart, key: tuple[str, str], message: Message, now: Now, out: Out) -> None:
        """An answer nobody waits for: never to the terminal, always into the journal."""
        office, fields = self._office, message.fields
        if self._reverse.saf.answered(counterpart, key, message, now, out):
            return
        exchange = counterpart.inflight.late(key)
        if exchange is None:
            office.statistics.unmatched += 1
            return
        office.statistics.late += 1
        code = fields.get(39, "")
        if code in APPROVED:
            office.statistics.late_approvals += 1
        exchange.settlement_date = exchange.settlement_date or fields.get(15, "")
        office.journal(exchange, "late", now, out, reason=code)

    def _close(self, exchange: Exchange, reply: dict[int, Any], now: Now, out: Out, after: int) -> None:
        """Answer the terminal and let go of all that was kept for the answer."""
        office = self._office
        link, frame, request = exchange.link, exchange.frame, office.request_of(exchange)
        exchange.let_go()
        self.count(exchange)
        if link is None or frame is None or request is None:
            return
        terminal = office.books.terminals.get(exchange.tid)
        extra = self._extra(exchange, reply)
        code = chips.told(exchange.response_code)
        office.answer(link, frame, exchange.row.mti, request, code, now, out, extra, after, terminal)

    def count(self, exchange: Exchange) -> None:
        """An exchange has come to its answer, whoever gets it."""
        on_us = UNKNOWN if not exchange.counterpart else ON_US if exchange.on_us else OFF_US
        self._office.statistics.answered(exchange.kind, exchange.response_code, exchange.approved, on_us)

    def _extra(self, exchange: Exchange, reply: dict[int, Any]) -> dict[int, Any]:
        """Fields of the terminal's reply that the request did not have."""
        extra: dict[int, Any] = {37: exchange.rrn, 63: f"{self._office.pos.scheme:3.3}".encode()}
        if exchange.settlement_date:
            extra[15] = exchange.settlement_date
        if exchange.auth_code:
            extra[38] = exchange.auth_code
        if exchange.receiver:
            extra[44] = f"{exchange.receiver:<11.11}{exchange.acquirer:<11.11}"
        if self._office.pos.merchant_name_in_reply:
            extra[43] = merchant_name(self._office.books.terminals[exchange.tid].merchant_name)
        if reply.get(54):
            extra[54] = available(reply[54])
        if 55 in reply:
            extra[55] = reply[55]
        return extra

    # nobody answers

    def on_timeout(self, counterpart: Counterpart, exchange: Exchange, now: Now, out: Out) -> None:
        """The patience of a request has ended."""
        self._office.statistics.timeouts += 1
        counterpart.timeouts += 1
        self._give_up(counterpart, exchange, "timeout", now, out)

    def on_reject(self, counterpart: Counterpart, message: Message, reject: str, now: Now, out: Out) -> None:
        """Our own message came back with a header reject code: it never reached anybody, so nothing is reversed.

        An advice is left to its deadline: it is stored then, and repeated.
        """
        self._office.statistics.rejected += 1
        key = (message.fields.get(7, ""), message.fields.get(11, ""))
        exchange = counterpart.inflight.waiting(key)
        if exchange is None or exchange.row.advice:
            return
        counterpart.inflight.take(key)
        exchange.response_code = counterpart.profile.codes.rejected
        self._office.journal(exchange, "answered", now, out, f"rejected {reject}")
        self._close(exchange, {}, now, out, 0)

    def _give_up(self, counterpart: Counterpart, exchange: Exchange, reason: str, now: Now, out: Out) -> None:
        """No usable answer: an advice is stored and repeated, anything that moves money is reversed."""
        row = exchange.row
        if row.advice:
            counterpart.inflight.take(exchange.net_key)  # its answer belongs to the store from now on
            self._store(exchange, now, out)
            return
        counterpart.inflight.give_up(exchange)
        exchange.response_code = counterpart.profile.codes.no_reply
        if row.reversible:
            number = self._reverse.queue(exchange, reason, now, out)
        else:
            number = self._office.journal(exchange, "answered", now, out, reason)
        self._close(exchange, {}, now, out, number)


def _echoes(exchange: Exchange, message: Message) -> bool:
    """Whether an answer has a code and repeats what it answers: class, terminal, merchant, amount, RRN.

    Part of an amount is another amount: no terminal here asks for partial approval.
    """
    fields, row = message.fields, exchange.row
    return bool(
        39 in fields
        and message.mti == reply_mti(row.network_mti)
        and fields.get(41) == exchange.tid
        and fields.get(42) == exchange.mid
        and (not row.amount or int(fields.get(4, "0")) == exchange.amount)
        and fields.get(37, exchange.rrn) == exchange.rrn
    )
