"""The desk for 0400: a terminal takes back what it does not know the end of, and so does the switch itself (0420)."""

from switch.engine import admit, chips
from switch.engine.books import Exchange, Terminal
from switch.engine.office import Office
from switch.engine.saf import Saf
from switch.machine import Link, Now, Out
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.transactions import REVERSAL_MANDATORY

DONE, DAY_CLOSED, NOT_ALLOWED, WRONG_AMOUNT = "00", "25", "12", "64"
UNKNOWN_REVERSALS_MAX = 100_000
UNTOLD = "untold"
"""The reason of a reversal that needed no message."""
BY_TERMINAL = "terminal"
"""How the reason of a reversal that a terminal asked for begins, in the journal."""


class ReverseDesk:
    """Reversals from terminals, and the switch's own."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self.saf = Saf(office)

    def on_request(self, link: Link, frame: Frame, message: Message, now: Now, out: Out) -> None:
        """A terminal's 0400. DE11 is the original's, DE60 names its batch, DE39 the reason."""
        office, fields = self._office, message.fields
        terminal, code = admit.known(office, message)
        code = code or admit.whole(message, REVERSAL_MANDATORY)
        if not code and not admit.batch_of(message):
            code = admit.FORMAT_ERROR
        if not code and terminal is not None:
            code = admit.real(office, message, terminal)
        if code or terminal is None:
            office.statistics.refused += 1
            office.answer(link, frame, message.mti, fields, code, now, out)
            return
        office.heard(terminal, link, out)
        icc = chips.repeated_of(fields[55]) if 55 in fields else b""
        if icc is None:
            office.answer(link, frame, message.mti, fields, admit.FORMAT_ERROR, now, out)
            return
        exchange, code, after = self._decide(terminal, message, icc, now, out)
        extra = {37: exchange.rrn} if exchange else {}
        office.answer(link, frame, message.mti, _echo(message), code, now, out, extra, after, terminal)

    def _decide(
        self, terminal: Terminal, message: Message, icc: bytes, now: Now, out: Out
    ) -> tuple[Exchange | None, str, int]:
        """The exchange meant, the code to answer, and the row to wait for."""
        office, fields = self._office, message.fields
        key = (terminal.tid, admit.batch_of(message), fields[11])
        exchange = office.books.find(key)
        if exchange is None:
            office.statistics.unknown_reversals += 1
            if key in office.books.unknown_reversals:
                return None, DONE, 0
            self.remember_unknown(key)
            return None, DONE, office.post("overtaken", key, now, out)
        if int(fields[4]) != exchange.amount:
            return exchange, WRONG_AMOUNT, 0
        if not exchange.row.reversible or exchange.undone or exchange.added:
            return exchange, NOT_ALLOWED, 0
        if exchange.reversal:
            # said again while the first row may still be on its way to the disk: it waits for that too
            return exchange, DAY_CLOSED if exchange.reversal == "closed" else DONE, office.books.row_last
        if exchange.state == "sent":
            office.counterparts[exchange.counterpart].inflight.give_up(exchange)
            exchange.let_go()
        elif not exchange.approved:
            return exchange, DONE, 0
        elif self._day_closed(exchange):
            return exchange, DAY_CLOSED, self._by_hand(exchange, now, out)
        elif exchange.stood_in:
            return exchange, *self._undo_stand_in(exchange, fields[39], now, out)
        exchange.icc = icc
        return exchange, DONE, self.queue(exchange, f"{BY_TERMINAL} {fields[39]}", now, out)

    def _by_hand(self, exchange: Exchange, now: Now, out: Out) -> int:
        """Nothing can be sent any more: people settle it."""
        office = self._office
        exchange.reversal = "closed"
        office.books.unsettle(exchange)
        office.statistics.suspicious += 1
        return office.journal(exchange, "suspicious", now, out, reason=DAY_CLOSED)

    def _undo_stand_in(self, exchange: Exchange, reason: str, now: Now, out: Out) -> tuple[str, int]:
        """A stand-in's approval taken back: forgotten, if the core has not heard of it; an advice that was told cannot
        be reversed, so that is for people to settle. Returns the code to answer and the row to wait for."""
        if not self.saf.cancel(exchange):
            return DAY_CLOSED, self._by_hand(exchange, now, out)
        office = self._office
        office.books.unsettle(exchange)
        office.statistics.reversal(BY_TERMINAL)
        office.journal(exchange, "reversal_queued", now, out, f"{BY_TERMINAL} {reason}")
        return DONE, self.forget(exchange, now, out)

    def forget(self, exchange: Exchange, now: Now, out: Out) -> int:
        """The reversal of what nobody else has heard of is done as soon as it is written. Returns the row's number."""
        exchange.reversal = "acked"
        self._office.statistics.reversals_acked += 1
        return self._office.journal(exchange, "reversal_acked", now, out, UNTOLD)

    def queue(self, exchange: Exchange, reason: str, now: Now, out: Out) -> int:
        """Reverse an exchange on the other side, whatever became of it there. Returns the row's number."""
        office = self._office
        office.books.unsettle(exchange)
        exchange.reversal = "queued"
        office.statistics.reversal(reason)
        counterpart = office.counterparts[exchange.counterpart]
        key = counterpart.number(now)
        number = office.journal(exchange, "reversal_queued", now, out, reason, key)
        self.saf.add(exchange, "reversal", key, now, out, number, reason.startswith(BY_TERMINAL))
        return number

    def _day_closed(self, exchange: Exchange) -> bool:
        """Whether the exchange belongs to a settlement day its counterpart has left behind.

        While it is still turning its issuers one by one only they know, so they are asked.
        """
        counterpart = self._office.counterparts[exchange.counterpart]
        today = counterpart.settlement_date
        if counterpart.cutting_over or not today:
            return False
        return exchange.settlement_date not in ("", today)

    def remember_unknown(self, key: tuple[str, str, str]) -> None:
        """A request under this key is refused when it comes: its reversal was here before it."""
        unknown = self._office.books.unknown_reversals
        if len(unknown) >= UNKNOWN_REVERSALS_MAX:
            del unknown[next(iter(unknown))]
        unknown[key] = None


def _echo(message: Message) -> dict[int, object]:
    """DE38 and DE39 of a 0400 are its own and not repeated."""
    return {de: value for de, value in message.fields.items() if de not in (38, 39)}
