"""The sandwich as a stage: somebody else's switch, between a story's terminals and our network centre and core.

The ground is that of `shoudan sandwich --prepare`. Terminals, centre and core are those of the virtual house on the
wall's clock; the switch in the middle is reached over sockets on both sides, so that every leg is seen and faults on
lines and terminals, operator rules and a centre's own traffic work. Its journal cannot be looked into.
"""

import random
import socket
import time
from functools import partial
from typing import Final

from scenarios.sandwich.ground import LineConfig, Setup
from scenarios.story.booth import Made
from scenarios.story.casting import Shelf, Troupe
from scenarios.story.live import Wardrobe
from scenarios.story.reading import Story
from scenarios.story.serve import Caller, WallStage
from scenarios.story.shape import Block
from scenarios.story.stage import CannotPlay, House
from scenarios.story.wanted import PLACES
from scenarios.world.cards import chip_table
from scenarios.world.ground import LINES, network
from scenarios.world.network import Wire
from switch.app.config import host_and_port
from switch.crypto.hsm import Hsm, KeyRecord
from switch.issuer.centre import Centre
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY, Bank
from switch.issuer.masterkeys import take_master_keys
from switch.issuer.portfolio import STANDARD_ISSUERS
from switch.wire.profile import framing_of
from terminals.card.mint import Minter
from terminals.device import pos

SEEN_AROUND: Final = frozenset(("answer", "count", "terminal", "card", "cash", "books", *PLACES))
BOOKS_AROUND: Final = frozenset(("account", "events"))
"""Of the books, the issuers' own."""
SIGN_ON_S: Final = 60.0
QUIET_S: Final = 1.0
PUSH_AFTER_S: Final = 3.0
"""A member that has signed on and applied for no keys by then is offered them."""
CONNECT_S: Final = 5.0


class AroundHouse(House):
    """Centre and core with the keys, institutions and cards of a sandwich's ground."""

    def __init__(self, setup: Setup, story: Story, troupe: Troupe, entropy: random.Random, date: str) -> None:
        self.setup = setup
        self.lines = {line.name: line for line in setup.config.lines}
        self.fleet = [till.terminal for till in troupe.tills.values()]
        seed = setup.config.seed
        self.portfolio = Shelf(troupe.holders, seed, setup.config.cards_per_issuer)
        self.minter = Made(Minter(self.portfolio, seed), troupe.holders)
        self.pos = setup.pos
        self.networks = {name: setup.lines.get(name) or network(name) for name in LINES}
        self.chips = chip_table()
        self.in_force = {}
        self.lay(entropy, date)

    def _key_file(self, name: str) -> list[KeyRecord]:
        if name not in self.lines:
            return []
        hsm = Hsm(self.entropy(32), self.entropy)
        hsm.generate(PAN_HASH_KEY, "hash", "aes", 32)
        hsm.generate(PIN_REFERENCE_KEY, "pvk", "aes", 32)
        take_master_keys(hsm, self.portfolio)
        hsm.import_clear(f"zmk/{name}", "zmk", self.networks[name].keys.suite, self.setup.line_keys[name])
        self.hsms[name] = hsm
        return []

    def _hsm(self, name: str) -> Hsm:
        return self.hsms[name]

    def centre(self, name: str) -> Centre:
        """A counterpart of the switch under test."""
        line, hsm = self.lines[name], self.hsms[name]
        banks = [Bank(self.portfolio, n, hsm) for n, issuer in enumerate(STANDARD_ISSUERS) if line.takes(issuer.own)]
        centre = Centre(name, self.networks[name], line.institution, banks, hsm, settlement_date=self.dates[name])
        if name in self.in_force:
            centre.rules = self.in_force[name]
        return centre


class Middle:
    """The switch under test, as the terminals' devices see it: a door at an address."""

    up = listening = True

    def __init__(self, stage: "SandwichStage", address: tuple[str, int]) -> None:
        self._stage = stage
        self._address = address

    def accept(self, wire: Wire, name: str = "") -> None:
        """A terminal connects: so do we."""
        try:
            connection = socket.create_connection(self._address, CONNECT_S)
        except OSError:
            wire.ends[1].close()
            return
        caller = Caller(self._stage, connection, self._stage.line.framing, lambda body: wire, 1)
        caller.on()
        self._stage.hear(connection, caller)


class SandwichStage(WallStage):
    """Terminals in front of a switch, centre and core behind it."""

    seen: frozenset[str] | None = SEEN_AROUND
    books_seen: frozenset[str] | None = BOOKS_AROUND

    def __init__(self, setup: Setup, story: Story, troupe: Troupe) -> None:
        super().__init__(story, troupe, partial(AroundHouse, setup))  # type: ignore[arg-type]
        self.began = time.time()
        self.setup = setup
        self.switch = Middle(self, host_and_port(setup.config.front))  # type: ignore[assignment]
        self.hosts.pop("switch")
        self.around = [line.name for line in setup.config.lines]

    def open(self) -> None:
        """Listen, wait for the switch's sign-on and keys, sign terminals in. Raises CannotPlay."""
        for step in self.story.steps:
            _can(step)
        for line in self.setup.config.lines:
            self.use_rules(line.name, self.troupe.hosts.get(line.name, []))
            self.centres[line.name].start()
            self._listen_for(line)
        self.to_the_wall()
        self._until = self.now + SIGN_ON_S + self.story.limit_s
        self._signed_on()
        for name, till in self.troupe.tills.items():
            booth = self.booths[name]
            if till.notes:
                booth.fill(till.notes)
            if till.signed_in:
                booth.begin(pos.sign_in(booth.memory, self.line))
                self.run(lambda booth=booth: booth.busy, SIGN_ON_S)  # type: ignore[misc]
                if not booth.memory.signed_in:
                    raise CannotPlay(f"terminal {booth.memory.tid} could not sign in at {self.setup.config.front}")
        self._until = self.now + self.story.limit_s
        self.witness.begin()

    def _listen_for(self, line: LineConfig) -> None:
        framing = framing_of(self.ground.networks[line.name])

        def met(connection: socket.socket) -> Caller:
            def wire_of(body: bytes) -> Wire:
                wire = Wire(self, self.roads[line.name], self.draws["network"])
                self.centres[line.name].accept(wire, line.name)
                return wire

            return Caller(self, connection, framing, wire_of)

        self.listen(host_and_port(line.listen), met)

    def _signed_on(self) -> None:
        pushed: set[str] = set()
        begun = self.now
        while not self.ready():
            self.pass_time(0.1)
            for name in self.around:
                late = self.now > begun + PUSH_AFTER_S and name not in pushed and not self._keyed(name)
                if late and self.centres[name].call(lambda machine, now, out: machine.reset_keys(now, out)):
                    pushed.add(name)
            if self.now > begun + SIGN_ON_S:
                waiting = next(line for line in self.setup.config.lines if not self._keyed(line.name))
                raise CannotPlay(f"the switch under test did not sign on to {waiting.name} at {waiting.listen}")

        self.pass_time(QUIET_S)  # what belongs to the sign-on is no part of the story

    def _keyed(self, name: str) -> bool:
        hsm = self.ground.hsms[name]
        return f"zak/{name}" in hsm and f"zpk/{name}" in hsm

    def ready(self, *names: str) -> bool:
        """Whether the lines have their keys."""
        return all(self._keyed(name) for name in names or self.around)


def _can(step: Block) -> None:
    if step["verb"] in ("switch", "restart"):
        raise CannotPlay(f"line {step.line}: {step['verb']} is for the virtual stage")
    for fault in [*step.get("faults", ()), *([step["fault"]] if "fault" in step else [])]:
        if fault["on"] == "switch":
            raise CannotPlay(f"line {fault.line}: {fault['what']} on the switch is for the virtual stage")


def sandwiched(setup: Setup, wardrobe: Wardrobe, story: Story) -> SandwichStage:
    """The stage of a story around the switch under test. Raises BadStory, CannotPlay."""
    for what in ("profile", "began"):
        if getattr(story, what) is not None:
            raise CannotPlay(f"its {'date' if what == 'began' else what} is for the virtual stage")
    return SandwichStage(setup, story, wardrobe.troupe(story, balances=True))
