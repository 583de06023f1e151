"""The whole house in one process: engine, centre, core and terminals on a fake wire, a fake disk and a fake clock.

No socket and no sleep: `House.ask` carries a terminal's request through the engine and back, `House.pass_time` moves
the clock. Rows are kept in `rows` in the order in which a store would have them; nothing leaves before its row.
"""

import random
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from switch.clearing.reconcile import Reconciliation, reconcile
from switch.clearing.schema import CHIPS, JOURNAL, LEDGER, PINS, SWITCH_TABLES, TERMINALS
from switch.crypto.hsm import Hsm
from switch.engine.books import Terminal
from switch.engine.counterpart import Counterpart
from switch.engine.engine import Engine
from switch.engine.office import HASH, STORE
from switch.engine.route import Routes
from switch.issuer.centre import Centre
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY, Bank
from switch.issuer.masterkeys import take_master_keys
from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from switch.issuer.rules import read_rules
from switch.machine import Arm, Close, Effect, Link, Now, Out, Post, Send
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK, POS
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.profile import NetworkProfile, PosProfile, load_profile
from terminals.device.dialogue import Line
from terminals.device.memory import Memory, terminals_rows
from terminals.drive.instant import run
from terminals.fleet import memory_of, mint, mint_machines, mint_operators
from terminals.flow import Ask, Flow

SEED = 20130501
NOON = 1_793_160_000.0  # 2026-10-28 in Beijing
DAY = "1028"
ZMK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
LMK = bytes(range(32))


Meddler: TypeAlias = Callable[[str, Send], Send | None]
"""Who sends ("switch", "cups", "core") and what: to what is carried instead, None for nothing."""


def network(name: str) -> NetworkProfile:
    """A shipped network profile."""
    profile = load_profile(name)
    assert isinstance(profile, NetworkProfile)
    return profile


def standard_lines() -> dict[str, tuple[NetworkProfile, tuple[int, ...]]]:
    """The network with the foreign issuers behind it, and the own bank's core."""
    foreign = tuple(n for n, issuer in enumerate(STANDARD_ISSUERS) if not issuer.own)
    return {"cups": (network("cups"), foreign), "core": (network("core"), (0,))}


class House:
    """`rules` are the centre's and the core's operator rules; `late` is how far behind everybody is. Without
    `recalls` the switch reads nothing back out of its journal.

    `meddle` sees every Send on its way. `effects` is all that any machine ever asked for, in order. The switch dies as
    soon as `crash_at` rows are durable: what it has asked for beyond them is lost, and so is what waits for them unless
    `last_words`; it is `dead` until `restart_switch`.
    """

    def __init__(
        self,
        terminals: int = 6,
        rules: list[dict[str, Any]] | None = None,
        seed: int = SEED,
        behind: dict[str, tuple[NetworkProfile, tuple[int, ...]]] | None = None,
        machines: int = 0,
        pos: PosProfile | None = None,
        operators: int = 0,
        recalls: bool = True,
    ) -> None:
        self.recalls = recalls
        self.behind = behind or standard_lines()
        self.random = random.Random(seed)
        self.entropy: Callable[[int], bytes] = self.random.randbytes
        self.pos = pos or load_profile("unionpay-pos")
        assert isinstance(self.pos, PosProfile)
        self.line = Line(self.pos)
        self.operators = mint_operators(seed, operators, 2)
        self.fleet = mint(seed, terminals) + mint_machines(seed, machines)
        self.fleet += [terminal for operator in self.operators for terminal in operator.terminals]
        self.memories: list[Memory] = [memory_of(terminal) for terminal in self.fleet]
        self.portfolio = Portfolio(seed, STANDARD_ISSUERS, 1000)
        self.mono, self.wall = 1000.0, NOON
        self.late = 0.0
        self.rows: list[tuple[str, tuple[Any, ...]]] = []
        self.ledgers: dict[str, list[tuple[Any, ...]]] = {name: [] for name in self.behind}
        self.chips: dict[str, list[tuple[Any, ...]]] = {name: [] for name in self.behind}
        self.pins: dict[str, list[tuple[Any, ...]]] = {name: [] for name in self.behind}
        self.closed: list[tuple[Link, str]] = []
        self.meddle: Meddler = lambda name, send: send
        self.effects: list[tuple[str, Effect]] = []
        self.crash_at: int | None = None
        self.last_words = False
        self.dead = False
        self._generation = 0
        self._replies: deque[tuple[Link, bytes]] = deque()
        self.centres = {name: self._centre(name, rules or []) for name in self.behind}
        self.lines: dict[str, tuple[Link, Link]] = {}
        self.engine = self._engine()
        self.connect()

    # building

    def _centre(self, name: str, rules: list[dict[str, Any]]) -> Centre:
        hsm = Hsm(LMK, self.entropy)
        profile, issuers = self.behind[name]
        hsm.generate(PAN_HASH_KEY, "hash", "aes", 32)
        hsm.generate(PIN_REFERENCE_KEY, "pvk", "aes", 32)
        hsm.import_clear(f"zmk/{name}", "zmk", profile.keys.suite, ZMK)
        take_master_keys(hsm, self.portfolio)
        banks = [Bank(self.portfolio, n, hsm) for n in issuers]
        return Centre(
            name, profile, profile.header.destination, banks, hsm, rules=read_rules(rules), settlement_date=DAY
        )

    def _engine(self) -> Engine:
        hsm = Hsm(LMK, self.entropy)
        hsm.generate(STORE, "store", "aes", 32)
        hsm.generate(HASH, "hash", "aes", 32)
        return self._engine_on(hsm)

    def _engine_on(self, hsm: Hsm) -> Engine:
        counterparts = {}
        for name, (profile, _) in self.behind.items():
            hsm.import_clear(f"zmk/{name}", "zmk", profile.keys.suite, ZMK)
            counterparts[name] = Counterpart(name, profile, hsm, own=name == "core")
        for terminal in self.fleet:
            hsm.import_clear(f"tmk/{terminal.tid}", "tmk", terminal.suite, terminal.tmk)
        bins = {
            bin_: name for name, (_, them) in self.behind.items() for n in them for bin_ in STANDARD_ISSUERS[n].bins
        }
        terminals = [Terminal(t.tid, t.mid, t.mcc, t.merchant_name, t.suite) for t in self.fleet]
        assert isinstance(self.pos, PosProfile)
        engine = Engine(terminals, hsm, counterparts, Routes(bins, "cups"), self.pos, "04384530")
        if self.recalls:
            engine.recalls(lambda number: self.rows[number - 1][1])
        return engine

    def link(self, name: str = "") -> Link:
        self._generation += 1
        return Link(self._generation, name)

    def connect(self, *names: str) -> None:
        """Bring up the lines between switch and counterparts."""
        for name in names or self.behind:
            ours, theirs = self.link(name), self.link(name)
            self.lines[name] = (ours, theirs)
            self._do(name, lambda machine, now, out, link=theirs: machine.link_up(link, now, out))
            self._do("switch", lambda machine, now, out, link=ours: machine.link_up(link, now, out))

    def disconnect(self, name: str) -> None:
        ours, theirs = self.lines.pop(name)
        ours.closed = theirs.closed = True
        self._do("switch", lambda machine, now, out: machine.link_down(ours, now, out))
        self._do(name, lambda machine, now, out: machine.link_down(theirs, now, out))

    def restart_switch(self, connect: bool = True) -> None:
        """Kill the switch where it stands and start another on its rows: keys as in its key file, books empty."""
        self.dead, self.crash_at = False, None
        records = [
            self.engine.office.hsm.record(label)
            for label in self.engine.office.hsm.labels()
            if label.split("/")[0] in ("store", "hash")
        ]
        for name in list(self.lines):
            ours, theirs = self.lines.pop(name)
            ours.closed = theirs.closed = True
            self._do(name, lambda machine, now, out, link=theirs: machine.link_down(link, now, out))
        hsm = Hsm(LMK, self.entropy)
        for record in records:
            hsm.restore(record)
        self.engine = self._engine_on(hsm)
        self._do("switch", lambda machine, now, out: machine.recover(list(self.rows), now, out))
        if connect:
            self.connect()

    # the world

    @property
    def now(self) -> Now:
        return Now(self.mono, self.wall, self.late)

    def _machine(self, name: str) -> Any:
        return self.engine if name == "switch" else self.centres[name]

    def _do(self, name: str, act: Callable[[Any, Now, Out], object]) -> object:
        if name == "switch" and self.dead:
            return None
        out: Out = []
        result = act(self._machine(name), self.now, out)
        self._perform(name, out)
        return result

    def _perform(self, name: str, out: Out) -> None:
        """Rows first: what waits for a row leaves after it, as a store that commits at once would have it."""
        self.effects += [(name, effect) for effect in out]
        for effect in out:
            if isinstance(effect, Post):
                self._store(name, effect)
        for effect in out:
            if isinstance(effect, Send):
                if name == "switch" and self.dead and not (self.last_words and effect.after <= len(self.rows)):
                    continue
                carried = self.meddle(name, effect)
                if carried is not None:
                    self._carry(name, carried)
            elif isinstance(effect, Close):
                self.closed.append((effect.link, effect.reason))
                for line in [line for line, ends in self.lines.items() if effect.link in ends]:
                    self.disconnect(line)
            elif isinstance(effect, Arm):
                pass  # `pass_time` ticks everybody

    def _store(self, name: str, post: Post) -> None:
        if name != "switch":
            books = {CHIPS.name: self.chips, PINS.name: self.pins}.get(post.table, self.ledgers)
            books[name].append(post.row)
        elif not self.dead:
            assert post.number == len(self.rows) + 1, "rows are numbered without gaps"
            self.rows.append((post.table, post.row))
            self.dead = len(self.rows) == self.crash_at

    def _carry(self, name: str, send: Send) -> None:
        frame = Frame(send.tpdu, send.header, send.body)
        if name != "switch":
            ours, theirs = self.lines.get(name, (None, None))
            if send.link is theirs and ours is not None:
                self._do("switch", lambda machine, now, out: machine.receive(ours, frame, now, out))
            return
        for line, (ours, theirs) in self.lines.items():
            if send.link is ours:
                self._do(line, lambda machine, now, out, link=theirs: machine.receive(link, frame, now, out))
                return
        if not send.link.name:
            self._replies.append((send.link, send.body))

    def deliver(self, link: Link, body: bytes, header: bytes = b"", tpdu: bytes = b"") -> None:
        frame = Frame(tpdu or self.line.tpdu, header or self.line.header, body)
        self._do("switch", lambda machine, now, out: machine.receive(link, frame, now, out))

    def ask(self, body: bytes, patience_s: float = 40.0) -> bytes | None:
        """A terminal's request; the reply's body, after as much time as it takes, or None."""
        link = self.link()
        self.deliver(link, body)
        end = self.mono + patience_s
        while True:
            reply = self.reply_on(link)
            if reply is not None or self.dead or self.mono >= end:
                link.closed = True
                return reply
            self.pass_time(0.5)

    def reply_on(self, link: Link) -> bytes | None:
        """What has come back on a terminal's link, if anything."""
        bodies = [body for where, body in self._replies if where is link]
        self._replies = deque((where, body) for where, body in self._replies if where is not link)
        assert len(bodies) < 2, "one answer to one request"
        return bodies[0] if bodies else None

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        end = self.mono + seconds
        while self.mono < end:
            move = min(step, end - self.mono)
            self.mono += move
            self.wall += move
            for name in ("switch", *self.behind):
                self._do(name, lambda machine, now, out: machine.tick(now, out))

    # convenience

    def card(self, issuer: int = 0, n: int = 0, chip: str | None = None) -> Card:
        """The n-th unblocked card of an issuer (0 is the own bank), of a kind of chip ("" none; None any)."""
        good = (
            c for i in range(1000) if (c := self.portfolio.card(issuer, i)).status == "normal" and c.expiry > "2612"
            and chip in (None, c.chip)
        )  # fmt: skip
        for _ in range(n):
            next(good)
        return next(good)

    def run(self, flow: Flow[Any], pin: str | None = None, patience_s: float = 40.0) -> Any:
        def holder(asked: Ask) -> str:
            if asked.what in ("new_pin", "new_pin_again"):
                return "905173"
            return asked.about.pin if pin is None else pin

        return run(flow, lambda body: self.ask(body, patience_s), holder)

    def books(self) -> Reconciliation:
        """The three books joined, as `shoudan clearing reconcile` would."""
        numbers = [row[0] for _, row in self.rows]
        journal = [dict(zip(JOURNAL.names, row, strict=True)) for table, row in self.rows if table == "journal"]
        terminals = [dict(zip(TERMINALS.names, row, strict=True)) for row in terminals_rows(self.memories)]
        return reconcile(journal, self.ledger_rows(), terminals, numbers)

    def said(self, name: str, since: int = 0) -> list[Message]:
        """All that the switch has sent over a line ("" to terminals), meddled with or not."""
        codec = codec_of(NETWORK if name else POS)
        return [
            codec.decode(effect.body)
            for who, effect in self.effects[since:]
            if who == "switch" and isinstance(effect, Send) and effect.link.name == name
        ]

    def ledger_rows(self) -> list[dict[str, Any]]:
        return [dict(zip(LEDGER.names, row, strict=True)) for rows in self.ledgers.values() for row in rows]

    def chip_rows(self) -> list[dict[str, Any]]:
        """The issuers' books of chips."""
        return [dict(zip(CHIPS.names, row, strict=True)) for rows in self.chips.values() for row in rows]

    def of(self, table: str) -> list[dict[str, Any]]:
        """The switch's rows of one table as dicts."""
        names = next(t.names for t in SWITCH_TABLES if t.name == table)
        return [dict(zip(names, row, strict=True)) for where, row in self.rows if where == table]
