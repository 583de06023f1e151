"""The front desk: what came in, on which side, and which desk it goes to. A machine (see `switch.machine`)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from switch.clearing.tariff import Tariff
from switch.crypto.hsm import Hsm
from switch.engine.archive import Archive, Recall
from switch.engine.authorize import AuthorizeDesk
from switch.engine.books import Books, Terminal
from switch.engine.counterpart import Counterpart
from switch.engine.hsmqueue import HsmQueue
from switch.engine.limits import USUAL_LIMITS, Limits
from switch.engine.manage import ManageDesk
from switch.engine.office import Office
from switch.engine.reconcile import ReconcileDesk
from switch.engine.recover import recover
from switch.engine.reverse import ReverseDesk
from switch.engine.route import Routes
from switch.engine.share import WHOLE, Share, Tell
from switch.machine import Close, Link, Now, Out
from switch.wire.chips import NO_CHIPS, ChipTable
from switch.wire.errors import DecodeError, FrameError
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.profile import PosProfile
from switch.wire.transactions import FINANCIAL_MTIS

REJECTED, INVALID_TRANSACTION, FORMAT_ERROR, WRONG_MAC = "00000", "12", "30", "A0"
TERMINAL_KEYS, LINE_KEYS = ("tmk", "pik", "mak", "tdk"), ("zmk", "zpk", "zak")
"""Labels of keys before the "/" and what they belong to."""


class Engine:
    """The acquiring switch between terminals and its counterparts.

    `terminals` are all it knows; `hsm` holds their master keys (`tmk/TID`), the counterparts' (`zmk/NAME`), and the
    storage and hash keys of the journal. Links named after a counterpart are that counterpart's line; all other links
    are terminals'. `limits` is how much may wait, `chips` what terminals are told about chips. `tariff` is what was
    last taken whole; it only stands here, fees are worked out from the books. `straight` is the way past the desks.
    `hsm_queue` is the model of an HSM around this machine, if there is one: then that is the machine to be performed.
    `share` says which of several workers it
    is: then `terminals` are those of its merchants, and what holds for all of them goes through `tell` and `told`;
    `elsewhere` takes those terminals' frames that are another worker's, and says so.
    """

    def __init__(
        self,
        terminals: Iterable[Terminal],
        hsm: Hsm,
        counterparts: Mapping[str, Counterpart],
        routes: Routes,
        pos: PosProfile,
        acquirer: str,
        chips: ChipTable = NO_CHIPS,
        limits: Limits = USUAL_LIMITS,
        share: Share = WHOLE,
    ) -> None:
        self.office = Office(Books(terminals, share), hsm, counterparts, routes, pos, acquirer, chips, limits)
        self._reverse = ReverseDesk(self.office)
        self._authorize = AuthorizeDesk(self.office, self._reverse)
        self.straight = self._authorize.straight
        self._reconcile = ReconcileDesk(self.office)
        self._manage = ManageDesk(self.office, self._reverse.saf)
        self._leaving: set[str] = set()
        self.tariff: Tariff | None = None
        self.hsm_queue: HsmQueue | None = None
        self.elsewhere: Callable[[Link, Frame], bool] = lambda link, frame: False

    # doors

    def receive(self, link: Link, frame: Frame, now: Now, out: Out) -> None:
        """One frame, from a terminal or a counterpart."""
        self.office.statistics.messages += 1
        counterpart = self.office.counterparts.get(link.name) if link.name else None
        if counterpart is not None:
            counterpart.received += 1
            if not self.straight.reply(counterpart, frame, now, out):
                self._from_counterpart(counterpart, link, frame, now, out)
            return
        if self.straight.request(link, frame, now, out):
            return
        if self.elsewhere(link, frame):
            self.office.statistics.messages -= 1  # it counts where it is dealt with
            return
        try:
            message = self.office.codec.decode(frame.body)
        except DecodeError as error:
            self._undecodable(link, frame, error, now, out)
            return
        self._from_terminal(link, frame, message, now, out)

    def receive_bad(self, link: Link, error: Exception, now: Now, out: Out) -> None:
        """The link's bytes are no frames: it has lost its place and is closed; nobody else notices."""
        self.office.statistics.bad_frames += 1
        out.append(Close(link, str(error)))

    def tick(self, now: Now, out: Out) -> None:
        """Deadlines: requests nobody answered, stored messages to repeat, lines to test."""
        for counterpart in self.office.counterparts.values():
            for exchange in counterpart.inflight.expired(now.mono, out):
                self._authorize.on_timeout(counterpart, exchange, now, out)
                sent_at = exchange.deadline - counterpart.inflight.patience_s
                self._manage.unanswered(counterpart, exchange.line, sent_at, now, out)
            self._manage.tick(counterpart, now, out)
        self._reverse.saf.tick(now, out)
        if self._leaving:
            self._forget_closed()

    def link_up(self, link: Link, now: Now, out: Out) -> None:
        counterpart = self.office.counterparts.get(link.name) if link.name else None
        if counterpart is not None:
            self._manage.line_up(counterpart, link, now, out)

    def link_down(self, link: Link, now: Now, out: Out) -> None:
        counterpart = self.office.counterparts.get(link.name) if link.name else None
        if counterpart is not None:
            self._manage.line_down(counterpart, link, now, out)
        elif self.office.links.get(link.peer) is link:
            del self.office.links[link.peer]  # a province on short connections would leave half a million behind

    # where things go

    def _from_terminal(self, link: Link, frame: Frame, message: Message, now: Now, out: Out) -> None:
        mti = message.mti
        if mti in FINANCIAL_MTIS:
            self._authorize.on_request(link, frame, message, now, out)
        elif mti == "0400":
            self._reverse.on_request(link, frame, message, now, out)
        elif mti in ("0500", "0320"):
            self._reconcile.on_request(link, frame, message, now, out)
        elif mti in ("0800", "0820"):
            self._manage.on_terminal(link, frame, message, now, out)
        else:
            self.office.statistics.refused += 1
            if mti[2] in "02468":  # a request of some kind: say that it is not known here
                self.office.answer(link, frame, mti, message.fields, INVALID_TRANSACTION, now, out)

    def _undecodable(self, link: Link, frame: Frame, error: DecodeError, now: Now, out: Out) -> None:
        """A frame that does not decode: 30 where at least the MTI could be read, else nothing to answer with."""
        self.office.statistics.bad_messages += 1
        mti = error.partial.get(0, "")
        if len(mti) != 4 or mti[2] not in "02468":
            out.append(Close(link, str(error)))
            return
        echoed: dict[int, Any] = {de: error.partial[de] for de in (11, 41, 42) if de in error.partial}
        self.office.answer(link, frame, mti, echoed, FORMAT_ERROR, now, out)

    def _from_counterpart(self, counterpart: Counterpart, link: Link, frame: Frame, now: Now, out: Out) -> None:
        try:
            message, reject = counterpart.read(frame)
        except (FrameError, DecodeError):
            self.office.statistics.link_errors += 1
            return
        if reject != REJECTED:
            self._authorize.on_reject(counterpart, message, reject, now, out)
            return
        mti = message.mti
        if mti in ("0110", "0210", "0230", "0430", "0630"):
            failures = counterpart.mac_failures
            self._authorize.on_reply(counterpart, message, now, out)
            if counterpart.mac_failures > failures or message.fields.get(39) == WRONG_MAC:
                self._manage.keys_in_doubt(counterpart, now, out)
        elif mti == "0830":
            self._manage.on_counterpart_reply(counterpart, link, message, now, out)
        elif mti in ("0800", "0820"):
            self._manage.on_counterpart_request(counterpart, link, message, now, out)
        else:
            self.office.statistics.unmatched += 1

    # its sisters, where it is one of several workers

    def tell(self, tell: Tell) -> None:
        """Have what concerns all workers told to them: `switch.engine.share` names it."""
        self.office.tell = tell

    def told(self, news: Sequence[Any], now: Now, out: Out) -> None:
        """What another worker has told."""
        self._manage.told(news, now, out)

    def agreed(self, news: Sequence[Any], now: Now, out: Out) -> None:
        """All other workers have taken a key that this one was given and has told of."""
        self._manage.agreed(news, now, out)

    # change under load

    def reload(
        self,
        terminals: Iterable[Terminal],
        routes: Routes,
        pos: PosProfile,
        keys: Hsm,
        chips: ChipTable | None = None,
    ) -> None:
        """Take new terminals, routes, profile, chip table and master keys between two messages: nothing under way is
        dropped.

        `keys` stands under the same local master key; its records replace those of the same label. Everything was
        checked before, so nothing here can fail half-way. Keys of nobody are forgotten; those of a closed terminal
        when the last answer it waits for has come, or its time is up.
        """
        office = self.office
        for label in keys.labels():
            record = keys.record(label)
            if record.usage in ("tmk", "zmk"):  # the journal's own keys stay what its rows were sealed with
                office.hsm.restore(record)
        office.books.adopt(terminals)
        office.routes = routes
        office.chips = chips or office.chips
        office.use(pos)
        self.straight.forget()
        known = office.books.terminals
        for label in office.hsm.labels():
            kind, _, owner = label.partition("/")
            if kind in TERMINAL_KEYS:
                needed = owner in known
            elif kind in LINE_KEYS:
                needed = owner.partition("/")[0] in office.counterparts
            else:
                needed = label in keys or office.hsm.record(label).usage not in ("tmk", "zmk")
            if not needed:
                office.hsm.forget(label)
        self._leaving = {tid for tid, terminal in known.items() if terminal.status == "closed"}
        self._forget_closed()

    def _forget_closed(self) -> None:
        """Forget the keys of closed terminals that wait for no answer; their answers are still to be sealed."""
        office = self.office
        waits = {exchange.tid for counterpart in office.counterparts.values() for exchange in counterpart.inflight}
        for tid in self._leaving - waits:
            office.books.terminals[tid].signed_in = False
            for kind in TERMINAL_KEYS:
                if f"{kind}/{tid}" in office.hsm:
                    office.hsm.forget(f"{kind}/{tid}")
        self._leaving &= waits

    # ends

    def drain(self) -> None:
        """Admit nothing new any more; what is under way goes on, and what has happened is still taken."""
        self.office.limits = self.office.limits._replace(admitted_max=0)

    # recovery and what may be seen from outside

    def recover(self, rows: Iterable[tuple[str, tuple[Any, ...]]], now: Now, out: Out) -> None:
        """Rebuild everything from the journal's rows (table, row) in the order of their numbers, before any link."""
        recover(self.office, self._reverse, rows, now, out)

    def recalls(self, recall: Recall) -> None:
        """Before recovery: rows of the journal can be read back, so not all of what was is kept in memory."""
        self.office.books.archive = Archive(recall)

    def stored(self, now: Now) -> dict[str, tuple[int, float]]:
        """By counterpart: how much is stored for it, and the age of the oldest in seconds."""
        return self._reverse.saf.depths(now)

    def status(self) -> dict[str, Any]:
        """Counters and depths, for a status request."""
        office = self.office
        return {
            **office.statistics.as_dict(),
            "inflight": sum(len(c.inflight) for c in office.counterparts.values()),
            "stored": len(self._reverse.saf),
            "signed_in": sum(t.signed_in for t in office.books.terminals.values()),
            "hsm": self.hsm_queue.status() if self.hsm_queue is not None else None,
            "tariff": f"{self.tariff.name}: {len(self.tariff.rows)} rows" if self.tariff else "",
            "counterparts": {
                c.name: {
                    "ready": c.ready,
                    "settlement_date": c.settlement_date,
                    "lines": [line.state for line in c.lines],
                }
                for c in office.counterparts.values()
            },
        }
