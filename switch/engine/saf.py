"""Store and forward: what must reach the other side, however long it takes. Reversals, and advices accepted for it.

An item is durable (its journal row) before it is sent, keeps one key through all its repeats, and leaves only when the
other side has taken it. Advices go out in the order in which they were stored, one at a time for each counterpart;
reversals wait for nobody. A restarted switch gets its items back from the journal, in the same order.
"""

import heapq
from collections import deque
from itertools import count
from typing import Any, Final, Literal, NamedTuple

from switch.engine.books import Exchange
from switch.engine.chips import count_alone
from switch.engine.counterpart import Counterpart
from switch.engine.line import Line
from switch.engine.office import Office
from switch.engine.outward import base_fields, net60, original_elements, put_notice, put_original
from switch.machine import Arm, Now, Out
from switch.wire.message import Message
from switch.wire.transactions import APPROVED, reply_mti

REVERSAL: Final = "0420"
EXPIRED: Final = "expired"
Kind = Literal["reversal", "advice"]

DELIVERED: Final = APPROVED | {"94"}
UNDECIDED: Final = frozenset(("68", "90", "91", "96", "98", "A0"))
"""Answers to an advice that say nothing of it: nobody could look, so it is sent again."""


class Item:
    """One stored message: `key` is its DE7 and DE11 in every repeat, `tries` how often it was sent, `line` over which
    line the last time.

    No try leaves before row `after` is durable; the next one is due at `due_at`. A `recovered` item may have been sent
    before the restart. `by_terminal` says that a reversal was asked for by the terminal.
    """

    __slots__ = (
        "after", "by_terminal", "counterpart", "due_at", "exchange", "key", "kind", "line", "recovered", "since",
        "tries",
    )  # fmt: skip

    def __init__(
        self,
        counterpart: Counterpart,
        exchange: Exchange,
        kind: Kind,
        key: tuple[str, str],
        after: int,
        by_terminal: bool,
    ) -> None:
        self.counterpart = counterpart
        self.exchange = exchange
        self.kind = kind
        self.key = key
        self.after = after
        self.by_terminal = by_terminal
        self.since = 0.0
        self.due_at = 0.0
        self.tries = 0
        self.line: Line | None = None
        self.recovered = False

    @property
    def mti(self) -> str:
        if self.kind == "advice":
            return self.exchange.net_mti
        return self.counterpart.profile.reversal.repeat_mti if self.tries else REVERSAL

    def is_answered_by(self, message: Message) -> bool:
        """Whether an answer under this item's key is of its class, and for its terminal and merchant."""
        asked = self.exchange.net_mti if self.kind == "advice" else REVERSAL
        exchange, get = self.exchange, message.fields.get
        return message.mti == reply_mti(asked) and get(41) == exchange.tid and get(42) == exchange.mid


class _Due(NamedTuple):
    at: float
    order: int
    item: Item


class _Queue:
    """What is stored for one counterpart. Advices wait in the order in which they were stored, and one is under way at
    a time: `turn`, until it is answered or `until` has come.

    `alone` are those that wait for no other, by when they are due: reversals, which are not to be late because another
    one is not answered, and advices tried `ordered_tries` times in vain, so that they hold the rest up no longer.
    """

    __slots__ = ("alone", "counterpart", "turn", "until", "waiting")

    def __init__(self, counterpart: Counterpart) -> None:
        self.counterpart = counterpart
        self.waiting: deque[Item] = deque()
        self.alone: list[_Due] = []
        self.turn: Item | None = None
        self.until = 0.0


class Saf:
    """All stored items, by counterpart and key, in the order in which they were stored; and whose turn it is."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._items: dict[tuple[str, str, str], Item] = {}
        self._queues = {name: _Queue(counterpart) for name, counterpart in office.counterparts.items()}
        self._order = count()

    def __len__(self) -> int:
        return len(self._items)

    def add(
        self,
        exchange: Exchange,
        kind: Kind,
        key: tuple[str, str],
        now: Now,
        out: Out,
        after: int = 0,
        by_terminal: bool = False,
        since_ms: int | None = None,
    ) -> None:
        """Store a message about `exchange`; its first try leaves when its turn has come and row `after` is durable.
        `since_ms` (epoch) is when it was stored first, for one that comes back out of the journal."""
        counterpart = self._office.counterparts[exchange.counterpart]
        item = Item(counterpart, exchange, kind, key, after, by_terminal)
        item.since = now.mono
        if since_ms is not None:  # a clock set back in between makes it no older
            item.since -= max(now.wall - since_ms / 1000, 0.0)
            item.recovered = True
        if (counterpart.name, *key) in self._items:
            self._office.statistics.violations["stored_key_reused"] += 1
        self._items[counterpart.name, *key] = item
        counterpart.stored += 1
        queue = self._queues[counterpart.name]
        if kind == "reversal":
            self._try_alone(queue, item, now, out)
        else:
            queue.waiting.append(item)
        self._go_on(queue, now, out)

    def depths(self, now: Now) -> dict[str, tuple[int, float]]:
        """By counterpart: how many items, and the age of the oldest in seconds (since the start at most)."""
        found: dict[str, tuple[int, float]] = {}
        for item in self._items.values():
            depth, oldest = found.get(item.counterpart.name, (0, 0.0))
            found[item.counterpart.name] = depth + 1, max(oldest, now.mono - item.since)
        return found

    def tick(self, now: Now, out: Out) -> None:
        """Repeat what is due and not yet taken, and go on behind what is not answered."""
        for queue in self._queues.values():
            self._go_on(queue, now, out)

    def ready(self, counterpart: Counterpart, again: bool, now: Now, out: Out) -> None:
        """Something can be sent (once more). `again`: over a new line, so all is said at once that the one before may
        have lost, in its order."""
        queue = self._queues[counterpart.name]
        if again:
            stored = [item for item in self._items.values() if item.counterpart is counterpart]
            queue.waiting = deque(item for item in stored if item.kind == "advice")
            queue.alone.clear()
            queue.turn = None
            for item in stored:
                if item.kind == "reversal":
                    self._try_alone(queue, item, now, out)
        self._go_on(queue, now, out)

    def line_lost(self, counterpart: Counterpart, line: Line, now: Now, out: Out) -> None:
        """What was said over a line that is gone and not answered is said again over the next one, at once."""
        queue = self._queues[counterpart.name]
        if queue.turn is not None and queue.turn.line is line:
            queue.waiting.appendleft(queue.turn)
            queue.turn = None
        if counterpart.ready:
            for item in [due.item for due in sorted(queue.alone, key=lambda due: due.order)]:
                if item.line is line and self._stands(item):
                    self._try_alone(queue, item, now, out)
        self._go_on(queue, now, out)

    def answered(self, counterpart: Counterpart, key: tuple[str, str], message: Message, now: Now, out: Out) -> bool:
        """An answer to a stored message, if it is one: taken, refused for good, or to be tried again."""
        where = (counterpart.name, *key)
        item = self._items.get(where)
        if item is None:
            return False
        code = message.fields.get(39, "")
        rules = counterpart.profile.reversal
        if not code or not item.is_answered_by(message):
            self._office.statistics.unmatched += 1
        elif item.kind == "advice":
            if code not in UNDECIDED:
                self._drop(item)
                self._delivered(item.exchange, code, message.fields, now, out)
        elif code in rules.accepted:
            self._drop(item)
            self._taken(item.exchange, code, code in rules.suspicious, now, out)
        queue = self._queues[counterpart.name]
        if queue.turn is item and item.tries >= rules.ordered_tries:
            queue.until = now.mono  # answered, if not taken
        self._go_on(queue, now, out)
        return True  # whatever is not taken is repeated

    def cancel(self, exchange: Exchange) -> bool:
        """Forget a stored advice that was never sent; False where the other side may have it already."""
        item = self._items.get((exchange.counterpart, *exchange.net_key))
        if item is None or item.tries or item.recovered:  # before the restart it may have been sent
            return False
        self._drop(item)
        return True

    def _drop(self, item: Item) -> None:
        del self._items[item.counterpart.name, *item.key]
        item.counterpart.stored -= 1
        queue = self._queues[item.counterpart.name]
        if queue.turn is item:
            queue.turn = None

    def _stands(self, item: Item) -> bool:
        """Whether it is still stored."""
        return self._items.get((item.counterpart.name, *item.key)) is item

    def _go_on(self, queue: _Queue, now: Now, out: Out) -> None:
        """Repeat what goes alone and is due, and give the next of the others its turn, if that of the one before is
        over; asks to be woken for what comes then."""
        counterpart, alone = queue.counterpart, queue.alone
        rules = counterpart.profile.reversal
        turn = queue.turn
        if turn is not None and now.mono >= queue.until:
            queue.turn = None
            if turn.tries >= rules.ordered_tries:
                heapq.heappush(alone, _Due(turn.due_at, next(self._order), turn))
            else:
                queue.waiting.appendleft(turn)
        while alone and alone[0].at <= now.mono:
            at, _, item = heapq.heappop(alone)
            if at < item.due_at or not self._stands(item):
                continue
            if now.mono - item.since >= rules.expire_s:
                self._expire(item, now, out)
            else:
                self._try_alone(queue, item, now, out)
        while queue.turn is None and queue.waiting:
            item = queue.waiting.popleft()
            if not self._stands(item):
                continue
            if now.mono - item.since >= rules.expire_s:
                self._expire(item, now, out)
            elif counterpart.ready:
                self._try(item, now, out)
                queue.turn = item
                wait = (
                    item.due_at if item.tries < rules.ordered_tries else now.mono + counterpart.profile.timers.reply_s
                )
                queue.until = min(item.due_at, wait)
            else:
                queue.waiting.appendleft(item)
                out.append(Arm(item.since + rules.expire_s))
                break
        if queue.turn is not None:
            out.append(Arm(queue.until))
        if alone:
            out.append(Arm(alone[0].at))

    def _try_alone(self, queue: _Queue, item: Item, now: Now, out: Out) -> None:
        self._try(item, now, out)
        heapq.heappush(queue.alone, _Due(item.due_at, next(self._order), item))

    def _expire(self, item: Item, now: Now, out: Out) -> None:
        """The other side has not taken it for so long that people must settle it: never dropped in silence."""
        self._drop(item)
        exchange = item.exchange
        exchange.icc = b""
        if item.kind == "reversal":
            exchange.reversal = "refused"
        self._office.statistics.expired += 1
        self._office.statistics.suspicious += 1
        self._office.journal(exchange, "suspicious", now, out, reason=EXPIRED)

    def _taken(self, exchange: Exchange, code: str, suspicious: bool, now: Now, out: Out) -> None:
        office = self._office
        exchange.icc = b""
        if suspicious:
            exchange.reversal = "refused"
            office.statistics.suspicious += 1
            office.journal(exchange, "suspicious", now, out, reason=code)
        else:
            exchange.reversal = "acked"
            office.statistics.reversals_acked += 1
            office.journal(exchange, "reversal_acked", now, out, reason=code)

    def _delivered(self, exchange: Exchange, code: str, fields: dict[int, Any], now: Now, out: Out) -> None:
        office = self._office
        exchange.settlement_date = fields.get(15, "")
        exchange.receiver = fields.get(100, "")
        exchange.auth_code = fields.get(38, exchange.auth_code)
        office.statistics.advices_delivered += 1
        exchange.icc = b""
        # the card's count was seen before: whatever this was, it is not delivered as new
        replayed = code == "94" and exchange.row.chip == "offline"
        if code in DELIVERED and not replayed:
            office.journal(exchange, "delivered", now, out, reason=code)
        else:
            office.statistics.suspicious += 1
            office.journal(exchange, "suspicious", now, out, reason=code)

    def _try(self, item: Item, now: Now, out: Out) -> None:
        """Send it, if it can be sent; the pause after which it is due again doubles."""
        if item.counterpart.ready:
            self._send(item, now, out)
        rules = item.counterpart.profile.reversal
        item.due_at = now.mono + min(rules.first_repeat_s * 2 ** min(max(item.tries - 1, 0), 16), rules.repeat_max_s)

    def _send(self, item: Item, now: Now, out: Out) -> None:
        counterpart = item.counterpart
        mti = item.mti
        if item.kind == "reversal":
            fields = reversal_fields(self._office, item, now)
            self._office.statistics.reversals_sent += 1
        else:
            fields = advice_fields(self._office, item, now)
        item.tries += 1
        item.line = counterpart.line
        self._office.statistics.repeated_often += item.tries == counterpart.profile.reversal.alarm_tries
        mac = item.kind == "reversal" or item.exchange.row.chip != "notice" or counterpart.profile.chips.notice_mac
        counterpart.send(mti, fields, out, after=item.after, mac=mac)


def reversal_fields(office: Office, item: Item, now: Now) -> dict[int, Any]:
    """0420: the exchange's own codes and card, its RRN, its key in DE90; no track, no PIN (member rules, section 6)."""
    fields = _about(office, item, now)
    reasons = item.counterpart.profile.reversal
    fields[60] = net60(item.counterpart, item.exchange, reasons.terminal if item.by_terminal else reasons.timeout)
    fields[90] = original_elements(item.exchange)
    if item.exchange.auth_code:
        fields[38] = item.exchange.auth_code
    if item.exchange.icc or item.exchange.atc:
        fields[55] = item.exchange.icc or count_alone(item.exchange)
    return fields


def advice_fields(office: Office, item: Item, now: Now) -> dict[int, Any]:
    """An advice as it was, from what the journal keeps of it."""
    fields = _about(office, item, now)
    fields[60] = net60(item.counterpart, item.exchange)
    put_original(fields, item.exchange)
    if item.exchange.stood_in:
        fields[38] = item.exchange.auth_code
    if item.exchange.icc:
        fields[55] = item.exchange.icc
    if item.exchange.row.chip == "notice":
        put_notice(fields, item.counterpart, item.exchange)
    return fields


def _about(office: Office, item: Item, now: Now) -> dict[int, Any]:
    exchange = item.exchange
    terminal = office.books.terminals.get(exchange.tid)
    name = terminal.merchant_name if terminal else ""
    fields = base_fields(item.counterpart, exchange, name, office.open_card(exchange), now)
    fields[7], fields[11] = item.key
    fields[22] = exchange.entry_mode
    fields[41], fields[42], fields[49] = exchange.tid, exchange.mid, exchange.currency
    if exchange.psn:
        fields[23] = exchange.psn
    if exchange.row.amount:
        fields[4] = f"{exchange.amount:012d}"
    return fields
