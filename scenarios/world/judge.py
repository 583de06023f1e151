"""The judge: sees what every process hears, asks, stores and says, and keeps books of its own.

It knows the protocol's rules and shares no arithmetic with the switch. Online it checks each step; `rest.py` checks the
books when all is quiet.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

from scenarios.world.host import Host
from scenarios.world.invariants import IDS
from switch.clearing.schema import JOURNAL, LEDGER
from switch.machine import Link, Out, Post, Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK, POS
from switch.wire.errors import DecodeError
from switch.wire.transactions import APPROVED, BY_NAME

_AT: Final = {name: place for place, name in enumerate(JOURNAL.names)}
_LEDGER: Final = LEDGER.names
_STATE, _KIND, _RRN, _CODE = _AT["state"], _AT["kind"], _AT["rrn"], _AT["response_code"]
_LASTING: Final = itemgetter(*(_AT[name] for name in ("kind", "amount", "currency", "tid", "stan", "pan_hash")))
_SETTLED: Final = _AT["settlement_date"]

_FOLLOWS: Final = {
    "answered": {"sent"},
    "refused": {""},
    "sent": {""},
    "stored": {"", "sent"},
    "delivered": {"stored"},
    "reversal_queued": {"sent", "answered"},
    "reversal_acked": {"reversal_queued", "late"},
    "suspicious": {"answered", "stored", "reversal_queued", "late"},
    "late": {"reversal_queued", "reversal_acked", "answered", "suspicious"},
}
"""Which states a state may follow ("" the beginning)."""

NEVER: Final = 1e9
UNREADABLE, FORMAT_ERROR = "unreadable", "30"
PATIENCE_S: Final = 30.0
SLACK_S: Final = 1.5
REPEAT_S: Final = 58.0
TAKEN: Final = frozenset(("00", "12", "25", "94"))
"""Answers by which a reversal is taken."""


class Violation(NamedTuple):
    """What was broken: the invariant, when, and by what."""

    invariant: str
    at: float
    what: str


class Deal:
    """One transaction as the judge reads it from durable rows."""

    __slots__ = ("approved", "first", "last", "reversal", "saf", "states", "suspicious")

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.first = self.last = row
        self.states: list[str] = []
        self.approved = False
        self.reversal = False
        self.suspicious = False
        self.saf = ("", "")

    @property
    def kind(self) -> str:
        return str(self.first[_KIND])

    @property
    def key(self) -> tuple[str, str, str]:
        """Terminal, batch, STAN."""
        return self.first[_AT["tid"]], self.first[_AT["batch"]], self.first[_AT["stan"]]

    @property
    def net_key(self) -> tuple[str, str, str]:
        """Line, DE7, DE11."""
        return self.first[_AT["link"]], self.first[_AT["net_time"]], self.first[_AT["net_stan"]]

    @property
    def amount(self) -> int:
        return int(self.first[_AT["amount"]])

    @property
    def date(self) -> str:
        return str(self.last[_SETTLED])

    @property
    def listed(self) -> bool:
        """A chip's own decline, taken down and moving nothing."""
        return self.states == ["refused"] and BY_NAME[self.kind].chip == "offline"

    @property
    def stands(self) -> bool:
        """Approved for good."""
        return self.approved and not self.reversal and not self.suspicious


class Watched(Protocol):
    """What the judge needs of its world."""

    now: float
    spoilt: set[bytes]
    fired: Counter[str]

    def reached(self, what: str) -> None: ...


class Judge:
    """Watches a world; `violations` are what it found, the first of them first."""

    def __init__(self, world: Watched) -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.deals: dict[str, Deal] = {}
        self.by_key: dict[tuple[str, str, str], str] = {}
        self.rows: dict[str, list[tuple[str, tuple[Any, ...]]]] = defaultdict(list)
        self.asked: dict[Link, dict[tuple[str, str], list[tuple[float, float]]]] = {}
        self.answered: dict[Link, set[tuple[str, str]]] = {}
        self.acks: dict[tuple[str, str, str], set[str]] = {}
        self.keys: dict[tuple[str, str, str, str], str] = {}
        self.elements: dict[tuple[str, str, str], str] = {}
        self.said: dict[tuple[str, str, str, str], list[tuple[float, int]]] = {}
        self.ups: Counter[str] = Counter()
        self.days: dict[str, tuple[str, bool]] = {}
        self.dates: dict[str, set[str]] = defaultdict(set)
        self.unknown: set[tuple[str, str, str]] = set()
        self._pos = codec_of(POS)
        self._net = codec_of(NETWORK)

    def broken(self, invariant: str, what: str) -> None:
        """Write down a violation."""
        if invariant not in IDS:
            raise ValueError(f"no invariant is called {invariant}")
        if len(self.violations) < 50:
            self.violations.append(Violation(invariant, round(self.world.now, 3), what))

    # what processes hear

    def connected(self, host: Host, link: Link) -> None:
        """A connection stands: a line has come up, or somebody who has asked for nothing yet."""
        if host.name != "switch":
            return
        if link.name:
            self.ups[link.name] += 1
        else:
            self.asked[link], self.answered[link] = {}, set()

    def heard(self, host: Host, link: Link, frame: Any) -> None:
        """A frame is about to reach a machine."""
        if host.name != "switch":
            return
        if link.name:
            self._heard_line(link.name, frame.body)
            return
        try:
            head = self._pos.peek(frame.body, (11, 41, 60))
        except DecodeError:
            head = {0: UNREADABLE}
        mti, stan = head[0], head.get(11, "")
        if mti != UNREADABLE and mti[2] not in "02468":
            return  # no request, whoever says it
        asked = self.asked[link]
        for key, times in asked.items():
            took = self.world.now - times[0][0] - (host.stopped_for - times[0][1])
            if took > PATIENCE_S + SLACK_S:
                self.broken("I14", f"{key[0]} with STAN {key[1]} not answered after {took:.1f} s")
        if mti == "0400":  # its request need not be answered any more, but its answer may be on its way
            for key in (("0200", stan), ("0100", stan)):
                if key in asked:
                    asked[key] = [(NEVER, 0.0)]
        if mti == "0220" and {"answered", "stored"}.intersection(self._states(head)):
            self.world.reached("an advice given its first answer again")
        waiting = asked.setdefault((mti, stan), [])
        if mti == "0220":  # said again while the first waits: one answer at least, and not more than it was said
            waiting[:] = [(NEVER, 0.0)] * len(waiting)
            waiting.insert(0, (self.world.now, host.stopped_for))
        else:
            waiting.append((self.world.now, host.stopped_for))

    def _states(self, head: dict[int, Any]) -> list[str]:
        """What the journal says of the transaction that a terminal's message names."""
        deal = self.deals.get(self.by_key.get(_key_of(head), ""))
        return deal.states if deal is not None else []

    def _heard_line(self, line: str, body: bytes) -> None:
        try:
            head = self._net.peek(body, (7, 11, 15, 39, 70))
        except DecodeError:
            return
        genuine = body not in self.world.spoilt
        mti = head[0]
        if mti == "0430" and genuine:
            self.acks.setdefault((line, head.get(7, ""), head.get(11, "")), set()).add(head.get(39, ""))
        elif mti == "0820" and genuine and head.get(70) == "201":
            self.dates[line].clear()
        elif mti in ("0110", "0210", "0230") and genuine:
            if head.get(39) == "90":
                self.world.reached("90 within a change of day")
            _, cutting = self.days.get(line, ("", False))
            if cutting and head.get(15):
                self.dates[line].add(head[15])
                if len(self.dates[line]) > 1:
                    self.world.reached("answers of two days within one change of day")

    # what machines ask

    def stepped(self, host: Host, out: Out) -> None:
        """A machine has acted: an approval that nobody is told must be taken back in the same step."""
        if host.name != "switch":
            return
        for effect in out:
            if not isinstance(effect, Post) or effect.table != "journal":
                continue
            row = effect.row
            if row[_STATE] != "answered" or row[_CODE] not in APPROVED or not BY_NAME[row[_KIND]].reversible:
                continue
            told = any(isinstance(one, Send) and not one.link.name for one in out)
            if not told and not self._queued_in(out, row[_RRN]):
                self.broken("I19", f"RRN {row[_RRN]} approved, nobody told, not reversed")

    @staticmethod
    def _queued_in(out: Out, rrn: str) -> bool:
        return any(
            isinstance(one, Post)
            and one.table == "journal"
            and one.row[_RRN] == rrn
            and one.row[_STATE] == "reversal_queued"
            for one in out
        )

    # what becomes durable

    def durable(self, host: Host, rows: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        """Rows were synced."""
        book = self.rows[host.name]
        for table, row in rows:
            book.append((table, row))
            if row[0] != len(book):
                self.broken("I25", f"{host.name}: row {row[0]} stands at place {len(book)}")
            if host.name != "switch":
                continue
            if table == "journal":
                self._journal(row)
            elif table == "day":
                self.days[row[2]] = (row[4], row[3] == "201")

    def _journal(self, row: tuple[Any, ...]) -> None:
        state, rrn = row[_STATE], row[_RRN]
        deal = self.deals.get(rrn)
        if deal is None:
            deal = self.deals[rrn] = Deal(row)
            if self.by_key.setdefault(deal.key, rrn) != rrn:
                self.broken("I2", f"key {deal.key} has RRN {self.by_key[deal.key]} and {rrn}")
        if deal.key in self.unknown:
            if state == "refused":
                self.world.reached("a reversal overtook its request")
            elif state == "sent":
                self.broken("I18", f"RRN {rrn} sent, its reversal had come before it")
        before = deal.states[-1] if deal.states else ""
        if before not in _FOLLOWS.get(state, set()) or state in deal.states:
            self.broken("I3", f"RRN {rrn}: {state} after {' '.join(deal.states) or 'nothing'}")
        if _LASTING(row) != _LASTING(deal.first):
            self.broken("I8", f"RRN {rrn}: row {row[0]} says another amount, kind, card or key")
        if deal.date and row[_SETTLED] not in ("", deal.date):
            self.broken("I9", f"RRN {rrn}: settlement date {deal.date} and {row[_SETTLED]}")
        deal.states.append(state)
        deal.last = row
        if state in ("answered", "stored"):
            deal.approved = row[_CODE] in APPROVED
        elif state == "reversal_queued":
            deal.reversal = True
            deal.saf = (row[_AT["saf_time"]], row[_AT["saf_stan"]])
            self._reversed_for(rrn, row[_AT["reason"]])
            self._in_its_day(rrn, deal, row[_AT["reason"]])
        elif state == "suspicious":
            deal.suspicious = True
        elif state == "reversal_acked":
            codes = self.acks.get((deal.first[_AT["link"]], *deal.saf), set())
            if not codes & TAKEN:
                self.broken("I20", f"RRN {rrn}: its reversal ended by {sorted(codes) or 'no answer'}")

    def _in_its_day(self, rrn: str, deal: Deal, reason: str) -> None:
        """A terminal's reversal is taken as long as the day of its original is not over. When it is sent does not
        matter: with the line down that may be after the day, and then the other side decides."""
        today, cutting = self.days.get(deal.net_key[0], ("", False))
        closed = today and not cutting and deal.date not in ("", today)
        if closed and deal.approved and reason.startswith("terminal"):
            self.broken("I9", f"RRN {rrn} of {deal.date} is reversed on {today}")

    def _reversed_for(self, rrn: str, reason: str) -> None:
        if reason == "mismatch" and not any(self.world.fired[kind] for kind in ("partial", "echo", "flip")):
            self.broken("I13", f"RRN {rrn}: an honest answer did not match")
        branch = {
            "restart": "reversed after a restart",
            "undeliverable": "reversed because it could not be told",
            "mismatch": "reversed because the answer did not match",
        }.get(reason)
        if branch:
            self.world.reached(branch)

    # what leaves

    def left(self, host: Host, send: Send) -> None:
        """Bytes are on their way."""
        if host.name != "switch":
            return
        if send.link.name:
            self._left_line(send.link.name, send.body)
        else:
            self._left_terminal(host, send)

    def _left_terminal(self, host: Host, send: Send) -> None:
        head = self._pos.peek(send.body, (11, 37, 39, 41, 60))
        mti, stan, code, rrn = head[0], head.get(11, ""), head.get(39, ""), head.get(37, "")
        asked_mti = f"{mti[:2]}{int(mti[2]) - 1}{mti[3]}"
        key = (asked_mti, stan)
        asked = self.asked.get(send.link, {})
        if key not in asked and code == FORMAT_ERROR:
            key = self._unread(send.link, asked_mti)
        if key not in asked:
            where = "I14" if key in self.answered.get(send.link, ()) else "I11"
            self.broken(where, f"{mti} with STAN {stan} to {send.link}, which waits for none")
            return
        asked_at, stopped = asked[key].pop(0)
        self.answered[send.link].add(key)
        if not asked[key]:
            del asked[key]
        took = self.world.now - asked_at - (host.stopped_for - stopped)
        if took > PATIENCE_S + SLACK_S:
            self.broken("I14", f"{mti} with STAN {stan} after {took:.1f} s")
        deal = self.deals.get(rrn)
        if code in ("77", "A0"):
            self.world.reached("told to sign in again")
        if mti == "0410" and code == "00" and not rrn:
            self.unknown.add(_key_of(head))
        if mti in ("0110", "0210", "0230"):
            if code in APPROVED and (deal is None or not (deal.approved or deal.listed)):
                self.broken("I4", f"RRN {rrn} approved to its terminal, its row is not durable")
            elif code == "98" and deal is not None and BY_NAME[deal.kind].reversible and not deal.reversal:
                self.broken("I19", f"RRN {rrn} given up, its reversal is not durable")
        elif mti == "0410" and code == "00" and deal is not None and deal.approved and not deal.reversal:
            self.broken("I19", f"RRN {rrn}: 00 to its terminal's reversal, which is not durable")

    def _unread(self, link: Link, mti: str) -> tuple[str, str]:
        """A request that could not be read to its end: its answer may lack what names it."""
        return next((key for key in self.asked.get(link, {}) if key[0] in (mti, UNREADABLE)), ("", ""))

    def _left_line(self, line: str, body: bytes) -> None:
        head = self._net.peek(body, (7, 11, 37, 90))
        mti = head[0]
        if mti[:2] == "08":
            return
        key, rrn = (line, head.get(7, ""), head.get(11, "")), head.get(37, "")
        deal = self.deals.get(rrn)
        earlier = self.keys.setdefault((mti, *key), rrn)
        times = self.said.setdefault((mti, *key), [])
        if earlier != rrn:
            self.broken("I12", f"key {key} for RRN {earlier} and {rrn}")
        if mti == "0420":
            self._left_reversal(key, rrn, deal, head.get(90, ""), times)
        elif deal is None:
            self.broken("I4", f"RRN {rrn} sent, its row is not durable")
        elif times and mti not in ("0220", "0620"):
            self.broken("I12", f"RRN {rrn} sent twice")
        times.append((self.world.now, self.ups[line]))

    def _left_reversal(
        self, key: tuple[str, str, str], rrn: str, deal: Deal | None, elements: str, times: list[tuple[float, int]]
    ) -> None:
        if deal is None or not deal.reversal:
            self.broken("I19", f"RRN {rrn} reversed, its row is not durable")
            return
        if deal.saf != key[1:] or self.elements.setdefault(key, elements) != elements:
            self.broken("I20", f"RRN {rrn}: its reversal has another key or original than before")
        if times:
            self.world.reached("a reversal said again")
            gap = self.world.now - times[-1][0]
            if gap < REPEAT_S and times[-1][1] == self.ups[key[0]]:
                self.broken("I21", f"RRN {rrn}: reversal said again after {gap:.1f} s")

    # processes

    def ended(self, host: Host, why: str) -> None:
        """A process is gone: answers it owed on its connections are owed no more."""
        del why
        if host.name == "switch":
            self.asked.clear()
            self.answered.clear()
            self.unknown.clear()
            for line in list(self.ups):
                self.ups[line] += 1

    def started(self, host: Host, rows: list[tuple[str, tuple[Any, ...]]]) -> None:
        """What was synced must be there again, and what is there again is durable."""
        known = self.rows[host.name]
        if len(rows) < len(known) or rows[: len(known)] != known:
            self.broken("I25", f"{host.name}: {len(rows)} rows after the restart, {len(known)} had been synced")
            return
        more = rows[len(known) :]
        if more:
            self.world.reached("an unsynced end that stood")
            self.durable(host, more)

    def ledger(self) -> list[dict[str, Any]]:
        """All ledgers' durable rows."""
        return [
            dict(zip(_LEDGER, row, strict=True))
            for name in sorted(self.rows)
            if name != "switch"
            for table, row in self.rows[name]
            if table == LEDGER.name
        ]


def _key_of(head: dict[int, Any]) -> tuple[str, str, str]:
    """Terminal, batch, STAN of a terminal's message."""
    return head.get(41, ""), str(head.get(60, ""))[2:8], head.get(11, "")
