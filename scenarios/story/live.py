"""The live stage: a story's terminals over real sockets, against whatever host is there.

The dialogues, the people and the cards are the same as in the virtual house; the host is whoever answers. What can be
seen from the terminals' side is judged; the rest is told as not seen. Time is real, or scaled.
"""

import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

from scenarios.story.booth import Act, Counter, Made, Slips, answered
from scenarios.story.casting import Till, Troupe, cast, found_card
from scenarios.story.meddle import Meddler
from scenarios.story.reading import Story
from scenarios.story.seal import Seals
from scenarios.story.shape import Block
from scenarios.story.stage import CannotPlay, Stuck
from scenarios.story.witness import TERMINAL, Witness
from scenarios.world.actors import pocketed
from scenarios.world.cards import Pockets, chip_table
from scenarios.world.network import Road
from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from switch.wire.errors import FrameError
from switch.wire.framing import Deframer
from switch.wire.profile import PosProfile, framing_of
from switch.wire.roster import CardRow
from terminals.card.mint import Minter
from terminals.device import pos
from terminals.device.atm import AtmMemory
from terminals.device.dialogue import Line, Outcome, administration, plain
from terminals.device.manage import ECHO
from terminals.device.memory import Memory
from terminals.drive.pump import pump
from terminals.drive.replies import fits, waited_for
from terminals.fleet import Terminal, memory_of
from terminals.flow import Apdu, Ask, Call, CardRemoved, Flow, FlowEffect, HostUnreachable, PowerOff, TimedOut
from terminals.holders import Holders

ISSUED: Final = 20_000
"""Cards of each issuer of a demo day."""
FIRST_STAN_MAX: Final = 900_000
NOT_LIVE: Final = frozenset(("host", "switch", "rules", "restart"))
"""Steps that nobody at a terminal can do."""
SEEN_LIVE: Final = frozenset(
    ("answer", "request", "reply", "reversal", "reversal-reply", "terminal", "card", "cash", "count")
)
LIVE_FAULTS: Final = frozenset(
    ("drop", "duplicate", "alter", "truncate", "power-off", "hang-up", "pull", "answer", "tear", "dark", "jam")
)
BEHIND: Final = ("switch", "cups", "core")
MACHINES: Final = ("ATM", "CRS")
DECK: Final = 400
"""The first card of a kind that a run deals is one of so many: an earlier run has left its counters at the host."""
LISTEN_S: Final = 0.3
PATIENCE_S: Final = 10.0
_RECEIVE: Final = 8192


@dataclass
class Wardrobe:
    """Who may be cast live: the host's terminals (`own`), and cards of a demo day's seed or of the user's file.

    `scale` makes waits so many times as short. Terminals come in turn, and each story has cards of its own as far as
    there are: the host remembers batches, chips' counters and accounts. `decks` is by kind the last card dealt,
    `issued` how many cards each issuer has.
    """

    host: str
    port: int
    profile: PosProfile
    own: Sequence[Terminal]
    seed: int | None = None
    rows: Sequence[CardRow] = ()
    scale: float = 1.0
    issued: int = ISSUED
    chance: random.Random = field(default_factory=random.SystemRandom)
    decks: dict[tuple[str, ...], int] = field(default_factory=dict)
    most: dict[tuple[str, ...], int] = field(default_factory=dict)
    portfolio: Portfolio | None = field(init=False, default=None)
    minter: Minter = field(init=False)

    def __post_init__(self) -> None:
        if self.seed is not None:
            self.portfolio = Portfolio(self.seed, STANDARD_ISSUERS, self.issued)
        self.minter = Minter(self.portfolio, self.seed or 0)

    def troupe(self, story: Story, balances: bool = False) -> Troupe:
        """The cast of a story; `balances`: the issuers are ours. Raises BadStory; CannotPlay where nobody fits."""
        for name, block in story.cast.items():
            for key in ("chip",) if balances else ("balance", "chip"):
                if key in block:
                    raise CannotPlay(f"line {block.at(key)}: {key} of {name} is for the virtual stage")
        taken: list[Terminal] = []

        def terminal_of(kind: Mapping[str, Any], terminal: Terminal) -> Terminal:
            model = kind["model"] if kind["model"] in MACHINES else ""
            for one in self.own:
                alike = set(kind["reads"]) == set(one.capabilities) and one.suite == kind["suite"]
                if one not in taken and alike and model == (one.model if one.model in MACHINES else ""):
                    taken.append(one)
                    return one
            raise CannotPlay(f"no terminal is left that reads {', '.join(kind['reads'])} on {kind['suite']}")

        troupe = cast(story, self._card, terminal_of)
        self.decks |= self.most
        self.own = [*(one for one in self.own if one not in taken), *taken]
        return troupe

    def _card(self, kind: Block, nth: int) -> Card:
        if self.portfolio is not None:
            return self._dealt(self.portfolio, kind, nth)
        if kind["chip"] not in ("none", "any"):
            raise CannotPlay("the user's cards have stripes alone: this story wants a chip")
        if nth > len(self.rows):
            raise CannotPlay(f"the file has {len(self.rows)} cards")
        row = self.rows[nth - 1]
        return Card(row.pan, row.expiry, row.track2, row.pin, False, 0, STANDARD_ISSUERS[1])

    def _dealt(self, portfolio: Portfolio, kind: Block, nth: int) -> Card:
        """A card that no story of this run has had, where there are enough: the host remembers its chip and account."""
        key = tuple(str(kind.get(name, "")) for name in ("bank", "chip", "status", "expired"))
        first = self.decks.setdefault(key, self.chance.randrange(DECK))
        self.most[key] = max(self.most.get(key, 0), first + nth)
        try:
            return found_card(portfolio, kind, first + nth, self.issued)
        except LookupError:
            return found_card(portfolio, kind, nth, self.issued)


class LiveBooth:
    """A terminal over a socket. A dialogue is done, from its beginning to its end, when `play` comes back."""

    busy = False
    on = True

    def __init__(self, stage: "LiveStage", till: Till, memory: Memory) -> None:
        self.stage = stage
        self.till = till
        self.memory = memory
        self.line = stage.line
        self.counter = Counter(stage)  # type: ignore[arg-type]
        self.road = Road(till.terminal.tid, 0.0)
        self.act: Act | None = None
        self.on_command: Callable[[bytes], None] = lambda command: None
        self.tear: Any = ""
        self.slips = Slips()
        self.dark = False
        self.taken_minor = 0
        self._socket: socket.socket | None = None
        self._deframer = Deframer(stage.line.framing)
        self._off = False

    @property
    def inside_minor(self) -> int:
        """What a custodian would find."""
        return self.memory.vault.inside_minor if isinstance(self.memory, AtmMemory) else 0

    def fill(self, notes: Mapping[int, int]) -> None:
        """A custodian puts notes in. ValueError where they find no room."""
        if not isinstance(self.memory, AtmMemory):
            raise ValueError(f"{self.till.name} holds no cash")
        self.memory.vault.load(notes, self.memory.at)

    def play(self, act: Act, flow: Flow[Outcome]) -> bool:
        """Do a dialogue."""
        self.act, self.counter.manner, self._off = act, act.manner, False
        act.taken_before = self.taken_minor
        if act.hand is not None:
            act.atc_before = act.hand.icc.state.atc
            act.hand.tear, self.tear = self.tear, ""
        visit = self.stage.holders.visit()

        def perform(effect: FlowEffect) -> Any:
            if isinstance(effect, Call):
                return self._call(effect)
            if isinstance(effect, Ask):
                answer = self.counter.answer(effect, visit, act.hand)
                if effect.what == "cash":
                    self.taken_minor += pocketed(effect.about, answer)
                return answer
            if isinstance(effect, Apdu):
                return self._card(act, effect.command)
            return self.stage.pause(effect.seconds)

        try:
            act.outcome = pump(flow, perform)
        except PowerOff:
            act.lost = "power lost"
        finally:
            act.over = True
            self.slips.clear()
            visit.end(act.outcome)
            if act.hand is not None:
                self.stage.pockets.hands.put(act.hand)
        return True

    def _card(self, act: Act, command: bytes) -> bytes:
        self.on_command(command)
        if self._off:
            raise PowerOff
        if act.hand is None:
            raise CardRemoved
        slip = self.slips.at(command)
        response: bytes | None = None
        try:
            if slip is not None and slip["what"] == "answer":
                response = answered(slip)
                return response
            if slip is not None:
                act.hand.icc.tear()
            response = act.hand(command)
            return response
        finally:
            act.commands.append((command, response))
            self.stage.witness.command(self.memory.tid, command, response)

    def power_off(self, for_s: float) -> None:
        """The power is gone; it is back before the next dialogue."""
        self._off = True
        self.close()

    def close(self, quietly: bool = False) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def end(self) -> None:
        """Nobody is told that a connection is gone but by the socket."""
        return

    # the host

    def _call(self, call: Call) -> bytes:
        deadline = time.monotonic() + call.timeout_s / self.stage.scale
        waited = waited_for(self.stage.line, call.body) if call.body else ("", None)
        try:
            connection = self._connected(deadline)
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            for data in self.road.hostile(self.line.wrap(call.body), 0) if self.road.hostile else []:
                connection.sendall(data)
            while True:
                if self._off:
                    raise PowerOff
                body = self._heard(connection, deadline, waited)
                if body is not None:
                    return body
        except TimeoutError:
            raise TimedOut from None
        except (OSError, FrameError):
            self.close()
            raise HostUnreachable from None

    def _heard(self, connection: socket.socket, deadline: float, waited: Any) -> bytes | None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        data = connection.recv(_RECEIVE)
        if not data:
            raise ConnectionResetError
        line = self.stage.line
        found: bytes | None = None
        for frame in self._deframer.feed(data):
            whole = line.framing.wrap(frame.body, frame.header, frame.tpdu)
            for one in self.road.hostile(whole, 1) if self.road.hostile else [whole]:
                for heard in Deframer(line.framing).feed(one):
                    if found is None and (not waited[0] or fits(line, heard.body, waited)):
                        found = heard.body
        return found

    def _connected(self, deadline: float) -> socket.socket:
        if self._socket is None:
            where = self.stage.wardrobe
            try:
                self._socket = socket.create_connection(
                    (where.host, where.port), max(0.01, deadline - time.monotonic())
                )
            except TimeoutError:
                raise ConnectionRefusedError from None
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._deframer = Deframer(self.stage.line.framing)
        return self._socket

    @property
    def trace(self) -> str:
        """The trace of the transaction under way."""
        return self.memory.tid


def preflight(wardrobe: Wardrobe, patience_s: float = PATIENCE_S) -> str:
    """Why no story can be played against this host, "" where it listens to terminals and answers them."""
    where = f"{wardrobe.host}:{wardrobe.port}"
    try:
        connection = socket.create_connection((wardrobe.host, wardrobe.port), patience_s)
    except OSError as error:
        return f"{where}: no connection ({error.strerror or error})"
    with connection:
        connection.settimeout(LISTEN_S)
        try:
            first = connection.recv(_RECEIVE)
            if not first:
                return f"{where}: the host hangs up before anything was said"
            return f"{where}: the host speaks first ({len(first)} bytes): shoudan doctor {where} says what it speaks"
        except TimeoutError:
            pass
        except OSError as error:
            return f"{where}: {error.strerror or error}"
        line = Line(wardrobe.profile)
        memory = memory_of(wardrobe.own[0])
        connection.settimeout(patience_s)
        try:
            connection.sendall(line.wrap(plain(line, "0820", administration(memory, ECHO))))
            if connection.recv(_RECEIVE):
                return ""
        except TimeoutError:
            return f"{where}: the host takes the connection and never answers: shoudan doctor {where} tries other ways"
        except OSError as error:
            return f"{where}: {error.strerror or error}"
    return f"{where}: the host hangs up on an echo test: shoudan doctor {where} tries other ways to speak"


class LiveStage:
    """The same doors as the virtual stage has, over sockets. There is no switch to be looked into."""

    seen: frozenset[str] | None = SEEN_LIVE

    def __init__(self, story: Story, wardrobe: Wardrobe) -> None:
        self.story, self.wardrobe, self.scale = story, wardrobe, wardrobe.scale
        self.troupe = wardrobe.troupe(story)
        self._began = time.monotonic()
        self._until = story.limit_s
        self.line = Line(wardrobe.profile)
        self.witness = Witness({TERMINAL: framing_of(wardrobe.profile)}, {TERMINAL: self.line.codec})
        self.witness.clock = self
        self.holders = Holders()
        portfolio = wardrobe.portfolio or Portfolio(0, STANDARD_ISSUERS, 1)
        minter = Made(wardrobe.minter, self.troupe.holders)
        self.ground = SimpleNamespace(minter=minter, portfolio=portfolio, networks={}, hsms={})
        self.pockets = Pockets(
            minter, time.time, random.SystemRandom().randbytes, chip_table(), len(self.troupe.holders)
        )
        self.roads: dict[str, Road] = {}
        self.hosts: dict[str, Any] = {}
        self.centres: dict[str, Any] = {}
        self.booths = {name: self._booth(till) for name, till in self.troupe.tills.items()}
        self.seals = Seals(self)  # type: ignore[arg-type]
        self.meddler = Meddler(self)  # type: ignore[arg-type]
        self.meddler.watch()

    def _booth(self, till: Till) -> LiveBooth:
        memory = memory_of(till.terminal)
        memory.stan = random.SystemRandom().randrange(FIRST_STAN_MAX)
        self.pockets.fit(till.terminal, memory, till.fresh)
        return LiveBooth(self, till, memory)

    @property
    def now(self) -> float:
        """The story's seconds: real ones times the scale."""
        return (time.monotonic() - self._began) * self.scale

    def at(self, when: float, what: str, act: Callable[..., None], *given: Any) -> None:
        """What is to happen at a moment happens now: a dialogue stands in the way of nobody."""
        act(*given)

    def run(self, going: Callable[[], bool], most_s: float) -> None:
        """Dialogues are over when `play` comes back: nothing is waited for."""

    def pause(self, seconds: float) -> None:
        """Let real time pass. Raises Stuck at the story's limit."""
        if self.now + seconds > self._until:
            raise Stuck
        time.sleep(seconds / self.scale)

    def pass_time(self, seconds: float) -> None:
        """After a step there is nothing to wait for; whoever looks again waits a little."""
        self.pause(min(seconds, 0.5))

    def settle_down(self) -> None:
        """A dialogue that is over leaves nothing on its way that could be seen from here."""

    def wait(self, seconds: float) -> None:
        """Time passes because the story says so."""
        self._until += seconds
        self.pause(seconds)

    def open(self) -> None:
        """Check that this stage can play it; sign in who is signed in. Raises CannotPlay."""
        for step in self.story.steps:
            self._can(step)
        for name, till in self.troupe.tills.items():
            booth = self.booths[name]
            if till.notes:
                booth.fill(till.notes)
            if not till.fresh:
                self._sweep(booth)
            if till.signed_in:
                act = Act("", booth, "sign_in", {}, 0, 0.0)  # type: ignore[arg-type]
                booth.play(act, pos.sign_in(booth.memory, self.line))
                if act.outcome is None or not act.outcome.approved:
                    why = "" if act.outcome is None else act.outcome.reason or act.outcome.response_code
                    raise CannotPlay(f"terminal {till.terminal.tid} could not sign in: {why}")
        self.witness.begin()

    def _sweep(self, booth: LiveBooth) -> None:
        """Close the batch that whoever used this terminal before has left open at the host."""
        act = Act("", booth, "settle", {}, 0, 0.0)  # type: ignore[arg-type]
        booth.play(act, pos.settle(booth.memory, self.line))
        booth.memory.stan %= FIRST_STAN_MAX

    def _can(self, step: Block) -> None:
        if step["verb"] in NOT_LIVE or (step["verb"] == "send" and "from" in step):
            raise CannotPlay(f"line {step.line}: {step['verb']} is for the virtual stage")
        for fault in [*step.get("faults", ()), *([step["fault"]] if "fault" in step else [])]:
            if fault["what"] not in LIVE_FAULTS or fault["on"] in BEHIND or "rows" in fault.get("when", {}):
                raise CannotPlay(f"line {fault.line}: {fault['what']} on {fault['on']} is for the virtual stage")

    def close(self) -> None:
        """Close all connections."""
        for booth in self.booths.values():
            booth.close()
