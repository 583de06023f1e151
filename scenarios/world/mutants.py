"""Tests of the tests: the switch broken in known ways, one function each, and which seed and invariant notice it.

A mutant replaces one function for as long as it lives; nothing is written to a file.
"""

import contextlib
import functools
import multiprocessing
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from scenarios.world import store
from scenarios.world.faults import kinds_of
from scenarios.world.host import Host
from scenarios.world.store import Store
from scenarios.world.world import World, play
from switch.engine import authorize, engine, recover
from switch.engine.authorize import AuthorizeDesk
from switch.engine.books import Exchange
from switch.engine.inflight import Inflight
from switch.engine.office import Office
from switch.engine.reverse import ReverseDesk
from switch.engine.saf import Saf
from switch.engine.straight import Straight
from switch.issuer import chips
from switch.issuer.host import Bank
from switch.machine import Link, Now
from switch.net.disk import StorageFailed
from terminals.device import atm
from terminals.device.cash import Dispensed, Vault

Change = Callable[[Any], Any]
"""The real function to the broken one."""


class Mutant(NamedTuple):
    """A way to break the switch: `owner.attribute` is replaced by what `change` makes of it.

    Without a fault of one of the kinds it `needs` it changes nothing, so that seeds without one need not be run.
    """

    name: str
    en: str
    owner: Any
    attribute: str
    change: Change
    needs: tuple[str, ...] = ()

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Broken for as long as the block lasts. Nothing is learnt meanwhile: all goes through what is broken."""
        real, sent = self.owner.__dict__[self.attribute], Straight.sent
        setattr(self.owner, self.attribute, self.change(real))
        Straight.sent = lambda *given: None  # type: ignore[method-assign]
        try:
            yield
        finally:
            setattr(self.owner, self.attribute, real)
            Straight.sent = sent  # type: ignore[method-assign]


class Caught(NamedTuple):
    """Which seed noticed a mutant, by which invariant, and what it said; seed 0: none of `tried` seeds did."""

    mutant: str
    en: str
    seed: int
    invariant: str
    what: str
    tried: int

    @property
    def told(self) -> str:
        """One line for people."""
        if not self.seed:
            return f"{self.mutant}: NOT caught in {self.tried} seeds ({self.en})"
        return f"{self.mutant}: seed {self.seed}, {self.invariant}: {self.what} ({self.en})"


# the field's fourteen


def _m1(real: Any) -> Any:
    def answer(self: Office, *given: Any, **named: Any) -> None:
        place = 8  # link, frame, mti, request, code, now, out, extra, after
        given = given[:place] + ((0, *given[place + 1 :]) if len(given) > place else ())
        if "after" in named:
            named["after"] = 0
        real(self, *given, **named)

    return answer


def _m2(real: Any) -> Any:
    def queue(self: ReverseDesk, exchange: Exchange, reason: str, now: Now, out: Any) -> int:
        return 0 if reason == "undeliverable" else int(real(self, exchange, reason, now, out))

    return queue


def _m3(real: Any) -> Any:
    def rebuilt(office: Office, *given: Any) -> None:
        real(office, *given)
        office.books.exchanges.clear()

    return rebuilt


def _m4(real: Any) -> Any:
    lines: list[Inflight] = []

    def take(self: Inflight, key: tuple[str, str]) -> Exchange | None:
        if self not in lines:
            lines.append(self)
            del lines[:-2]
        for line in lines:
            for waiting in list(line.requests):
                if waiting[1] == key[1]:
                    found: Exchange | None = real(line, waiting)
                    return found
        return None

    return take


def _m5(real: Any) -> Any:
    def link(self: Any, name: str) -> Link:
        fresh: Link = real(self, name)
        slots: list[Link] = self.__dict__.setdefault("slots", [])
        free = next((one for one in slots if one.closed), None)
        if name or free is None:
            slots.extend([] if name else [fresh])
            return fresh
        free.closed, free.peer = False, ""
        return free

    return link


def _m6(real: Any) -> Any:
    def answered(self: Saf, counterpart: Any, key: tuple[str, str], message: Any, now: Now, out: Any) -> bool:
        item = self._items.get((counterpart.name, *key))
        if item is not None and item.kind == "reversal":
            message.fields[39] = "00"
        return bool(real(self, counterpart, key, message, now, out))

    return answered


def _m7(real: Any) -> Any:
    return lambda self: real(self) + self.skew


def _m8(real: Any) -> Any:
    def late(self: AuthorizeDesk, counterpart: Any, key: Any, message: Any, now: Now, out: Any) -> None:
        exchange = counterpart.inflight._given_up.get(key)
        real(self, counterpart, key, message, now, out)
        kept = getattr(self, "kept_links", {}).get(exchange.rrn) if exchange is not None else None
        if kept is not None:
            link, frame, request = kept
            code = message.fields.get(39, "")
            terminal = self._office.books.terminals.get(exchange.tid)
            extra = {37: exchange.rrn}
            self._office.answer(link, frame, exchange.row.mti, request, code, now, out, extra, 0, terminal)

    return late


def _m8_keep(real: Any) -> Any:
    late = _m8(AuthorizeDesk._late)

    def give_up(self: Any, counterpart: Any, exchange: Exchange, reason: str, now: Now, out: Any) -> None:
        if "kept_links" not in self.__dict__:
            self.kept_links = {}
            self._late = functools.partial(late, self)
        self.kept_links[exchange.rrn] = (exchange.link, exchange.frame, exchange.request)
        real(self, counterpart, exchange, reason, now, out)

    return give_up


def _m9(real: Any) -> Any:
    def journal(self: Office, exchange: Exchange, state: str, now: Now, out: Any, *given: Any, **named: Any) -> int:
        if state == "answered" and exchange.settlement_date:
            exchange.settlement_date = self.local(now)[1]
        return int(real(self, exchange, state, now, out, *given, **named))

    return journal


def _forgotten(real: Any) -> Any:
    def nothing(self: Any, *given: Any) -> None:
        del self, given

    return nothing


def _m11(real: Any) -> Any:
    def commit(self: Store) -> int:
        try:
            return int(real(self))
        except StorageFailed:
            self.durable, self._pending = self._last, []
            return self.durable

    return commit


def _m12(real: Any) -> Any:
    def send(self: Saf, item: Any, now: Now, out: Any) -> None:
        if item.kind == "reversal" and item.tries and item.counterpart.ready:
            self._items.pop((item.counterpart.name, *item.key), None)
            item.key = item.counterpart.number(now)
            self._items[item.counterpart.name, *item.key] = item
        real(self, item, now, out)

    return send


def _m13(real: Any) -> Any:
    def echoes(exchange: Exchange, message: Any) -> bool:
        if message.fields.get(39) == "10":
            message.fields[4] = f"{exchange.amount:012d}"
        return bool(real(exchange, message))

    return echoes


def _m14(real: Any) -> Any:
    def give_up(self: Inflight, exchange: Exchange) -> None:
        self._given_up[exchange.net_key] = exchange

    return give_up


# our own: loads, cash, journal, change of day


def _l1(real: Any) -> Any:
    return lambda load, results, key: bool(real(load, results, key))


def _l2(real: Any) -> Any:
    def on_offline(self: chips.Chips, request: Any, card: Any) -> tuple[str, str]:
        code, _ = real(self, request, card)
        return code, ""

    return on_offline


def _l3(real: Any) -> Any:
    def receive(self: Bank, decision: Any, number: int) -> tuple[Any, ...]:
        return tuple(real(self, decision._replace(received_minor=abs(decision.received_minor)), number))

    return receive


def _l4(real: Any) -> Any:
    def decide(self: Bank, request: Any, *given: Any) -> Any:
        decision = real(self, request, *given)
        return decision._replace(receiver=None) if request.reversal else decision

    return decide


def _c1(real: Any) -> Any:
    def dispense(self: Vault, planned: Any, key: Any, at: str) -> Dispensed:
        done: Dispensed = real(self, planned, key, at)
        return Dispensed("none", {}) if done.outcome in ("part", "unknown") else done

    return dispense


def _c2(real: Any) -> Any:
    def confirm(memory: Any, line: Any, outcome: Any, item: Any) -> Any:
        memory.vault.store(atm.key_of(item), memory.at)
        memory.pending = None
        return outcome
        yield

    return confirm


def _d1(real: Any) -> Any:
    def judge(self: Bank, request: Any, entry: Any) -> str:
        original = self.register.find(request.original) if request.original else None
        today = self.settlement_date
        if original is not None:
            self.settlement_date = original.settlement_date
        try:
            return str(real(self, request, entry))
        finally:
            self.settlement_date = today

    return judge


def _d2(real: Any) -> Any:
    return lambda office, row: None


MUTANTS: Final = (
    Mutant("M1", "an approval leaves before its commit", Office, "answer", _m1),
    Mutant("M2", "no reversal when the terminal's connection is gone", ReverseDesk, "queue", _m2),
    Mutant("M3", "duplicates forgotten at a restart", engine, "recover", _m3),
    Mutant("M4", "answers matched by STAN alone, whatever the line", Inflight, "take", _m4),
    Mutant("M5", "a new connection takes the link of the slot it is given", Host, "_link", _m5),
    Mutant("M6", "a reversal dropped on any answer", Saf, "answered", _m6),
    Mutant("M7", "deadlines by the wall clock", Host, "ahead_s", _m7, ("clock",)),
    Mutant("M8", "a late answer passed on", AuthorizeDesk, "_give_up", _m8_keep),
    Mutant("M9", "the settlement date from the switch's own clock", Office, "journal", _m9),
    Mutant("M10", "a reversal of something unknown not remembered", ReverseDesk, "remember_unknown", _forgotten),
    Mutant("M11", "a failed commit swallowed", Store, "commit", _m11, ("disk_full", "sync_fails")),
    Mutant("M12", "a repeated reversal under a new key", Saf, "_send", _m12),
    Mutant("M13", "a partial approval taken for the whole amount", authorize, "_echoes", _m13, ("partial",)),
    Mutant("M14", "a request given up keeps its place in flight", Inflight, "give_up", _m14),
    Mutant("L1", "a load whose script nobody heard of is refunded by guess", chips, "_result_for", _l1),
    Mutant("L2", "what a chip has paid is taken from its account once more", chips.Chips, "on_offline", _l2),
    Mutant("L3", "a reversed load is taken from the paying card once more", Bank, "receive", _l3),
    Mutant("L4", "a reversed load stays with the receiving card", Bank, "decide", _l4),
    Mutant("C1", "notes that came out taken for none", Vault, "dispense", _c1),
    Mutant("C2", "an unanswered deposit not confirmed", atm, "_confirm", _c2),
    Mutant("J1", "a book shorter than its witness is taken", store, "refuse_short", _forgotten, ("restored",)),
    Mutant("D1", "an issuer reverses into a day that is closed", Bank, "_judge_reversal", _d1, ("cutover",)),
    Mutant("D2", "the change of day forgotten at a restart", recover, "_day", _d2),
)


def catch(mutant: Mutant, seeds: int) -> Caught:
    """The first seed that notices a mutant."""
    with mutant.alive():
        for seed in range(1, seeds + 1):
            if mutant.needs and not set(mutant.needs).intersection(kinds_of(World(seed).faults)):
                continue
            violations = play(seed)[0].violations
            if violations:
                first = violations[0]
                return Caught(mutant.name, mutant.en, seed, first.invariant, first.what, seed)
    return Caught(mutant.name, mutant.en, 0, "", "", seeds)


def _catch(given: tuple[str, int]) -> Caught:
    name, seeds = given
    return catch(next(one for one in MUTANTS if one.name == name), seeds)


def hunt(
    only: Sequence[str], seeds: int, processes: int, tell: Callable[[Caught], None] = lambda one: None
) -> list[Caught]:
    """Every mutant (or `only` some) against so many seeds; KeyError for one that is not there."""
    names = [one.name for one in MUTANTS]
    for name in only:
        if name not in names:
            raise KeyError(name)
    wanted = [(name, seeds) for name in names if not only or name in only]
    found = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for one in pool.imap(_catch, wanted, chunksize=1):
            tell(one)
            found.append(one)
    return found


_MARKS: Final = re.compile(r"(<!-- mutants -->).*?(<!-- end mutants -->)", re.DOTALL)


def write_table(page: Path, caught: Sequence[Caught]) -> None:
    """Replace the table between a page's marks."""
    lines = ["| mutant | what is broken | caught by seed | invariant |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {one.mutant} | {one.en} | {one.seed or f'none of {one.tried}'} | {one.invariant or '-'} |" for one in caught
    ]
    text = page.read_text(encoding="utf-8")
    table = "\n".join(lines)
    page.write_text(_MARKS.sub(lambda m: f"{m[1]}\n\n{table}\n\n{m[2]}", text), encoding="utf-8")
