"""The virtual stage: the whole house in one process on a quiet virtual clock, built for one story's cast.

Nothing goes wrong here but what the story says. Machines, hosts, roads and devices are the seeded world's.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any, Final

from scenarios.story.booth import Booth, Made
from scenarios.story.casting import SEED, Shelf, Till, Troupe, issued
from scenarios.story.changes import told_otherwise
from scenarios.story.meddle import Meddler
from scenarios.story.reading import Story
from scenarios.story.rules import Once, host_rules
from scenarios.story.seal import Seals
from scenarios.story.shape import Block
from scenarios.story.witness import TERMINAL, Witness
from scenarios.story.yes import YesSwitch
from scenarios.world.cards import Pockets, chip_table
from scenarios.world.ground import LINES, Ground, network, pos_profile
from scenarios.world.host import Host
from scenarios.world.network import Road
from switch.engine.counterpart import BEIJING_S, wire_time
from switch.issuer.centre import Centre
from switch.wire.chips import ChipTable, NoPin
from switch.wire.codec import codec_of
from switch.wire.profile import dialect_of, framing_of
from terminals.device import pos
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.fleet import memory_of
from terminals.holders import Holders
from terminals.look.setting import SettingFault, kernel_of, read_setting

NOON: Final = 1_793_160_000.0
"""2026-10-28 12:00 in Beijing."""
STREAMS: Final = ("network", "disk", "workload", "entropy", "cards")
NO_PIN_BINS: Final = ("621214", "620100")
NO_PIN_LIMIT_MINOR: Final = 100_000
LATENCY_S: Final = {"terminal": 0.04, "cups": 0.02, "core": 0.01}
OPENING_S: Final = 60.0
DAY_S, HOUR_S, AFTER_S = 86_400.0, 3600.0, 1.0


class Stuck(Exception):
    """The story's limit of virtual time is reached."""


class CannotPlay(Exception):
    """A stage cannot play the story; the text says why."""


class House(Ground):
    """The world's ground for the cast of one story: its terminals, its cards as it has them, its operator rules."""

    def __init__(self, story: Story, troupe: Troupe, entropy: random.Random, date: str) -> None:
        self.fleet = [till.terminal for till in troupe.tills.values()]
        self.portfolio = Shelf(troupe.holders)
        self.minter = Made(issued()[1], troupe.holders)
        changed: Mapping[str, Mapping[str, str]] = story.profile or {}
        self.pos = told_otherwise(pos_profile(), changed.get("pos", {}))
        self.networks = {name: told_otherwise(network(name), changed.get(name, {})) for name in LINES}
        self.chips = _chips(troupe)
        self.in_force: dict[str, Once] = {}
        self.lay(entropy, date)

    def centre(self, name: str) -> Centre:
        """A counterpart with the story's rules."""
        centre = super().centre(name)
        if name in self.in_force:
            centre.rules = self.in_force[name]
        return centre


def _chips(troupe: Troupe) -> ChipTable:
    """The world's table, with the merchants of this cast that ask no PIN of small sales."""
    table = chip_table()
    merchants = tuple(till.terminal.mid for till in troupe.tills.values() if till.no_pin)
    no_pin = NoPin(limit_minor=NO_PIN_LIMIT_MINOR, merchants=merchants, bins=NO_PIN_BINS)
    fresh = ChipTable((), (), no_pin)
    fresh.lists |= {digit: table.lists[digit] for digit in "459"}
    fresh.sm2_keys = table.sm2_keys
    fresh.versions |= {digit: table.versions[digit] for digit in "459"}
    return fresh


class YesHouse(House):
    """The same house with a switch that says yes to everything."""

    kind = YesSwitch


class Stage:
    """One story's world. `now` are virtual seconds; the story begins at `witness.began_s`."""

    seen: frozenset[str] | None = None
    """What can be looked at here; None for everything."""
    books_seen: frozenset[str] | None = None
    """Of the books."""

    def __init__(self, story: Story, troupe: Troupe, house: type[House] = House) -> None:
        self.story, self.troupe = story, troupe
        self.now = 0.0
        self.events = 0
        self.began = _epoch(story)
        self.draws = {name: random.Random(f"{SEED}/{story.id}/{name}") for name in STREAMS}
        self.branches: Counter[str] = Counter()
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._until = OPENING_S
        self.ground = house(story, troupe, self.draws["entropy"], wire_time(self.began)[:4])
        self.line = Line(self.ground.pos)
        self.judge = self.witness = Witness(
            {TERMINAL: framing_of(self.ground.pos), **{n: framing_of(p) for n, p in self.ground.networks.items()}},
            {TERMINAL: self.line.codec, **{n: codec_of(dialect_of(p)) for n, p in self.ground.networks.items()}},
        )
        self.witness.clock = self
        self.switch = Host(self, "switch", self.ground.switch_plan())
        self.centres = {name: Host(self, name, self.ground.centre_plan(name)) for name in LINES}
        self.hosts = {"switch": self.switch, **self.centres}
        self.roads = {name: Road(name, LATENCY_S[name]) for name in LINES}
        self.switch.plan.dials = [(name, self.roads[name], self.centres[name]) for name in LINES]
        self.pockets = Pockets(
            self.ground.minter, lambda: self.began + self.now, self.draws["cards"].randbytes, self.ground.chips,
            len(troupe.holders),
        )  # fmt: skip
        self.holders = Holders()
        self.booths = {name: self._booth(name) for name in troupe.tills}
        self.seals = Seals(self)
        self.meddler = Meddler(self)
        self.meddler.watch()

    def _booth(self, name: str) -> Booth:
        till = self.troupe.tills[name]
        memory = memory_of(till.terminal)
        self.pockets.fit(till.terminal, memory, till.fresh)
        if till.kernel:
            self._refit(till, memory)
        return Booth(self, till, Road(till.terminal.tid, LATENCY_S["terminal"]), memory)

    def _refit(self, till: Till, memory: Memory) -> None:
        """A terminal's kernel as the story has it: the settings of `shoudan insert --terminal`."""
        reader = memory.reader
        if reader is None:
            raise SettingFault(f"{till.name} reads no chips")
        setting = read_setting("shop", [f"{key.replace('-', '_')}={value}" for key, value in till.kernel.items()])
        reader.kernel = kernel_of(setting, self.draws["cards"].randbytes)
        reader.kernel.spent = memory.spent

    # what hosts and devices need of their world

    def at(self, when: float, what: str, act: Callable[..., None], *given: Any) -> None:
        """Do something at a virtual second."""
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, act, given))

    def wall_of(self, host: Host) -> float:
        """A host's wall clock."""
        return self.began + self.now + host.skew

    def delivered(self, to: str, body: bytes) -> None:
        """A frame has reached somebody."""
        self.events += 1

    def reached(self, what: str) -> None:
        """A rare branch was taken."""
        self.branches[what] += 1

    # time

    def run(self, going: Callable[[], bool], most_s: float) -> None:
        """Let things happen while `going()`, at most for so long. Raises Stuck at the story's limit."""
        end = self.now + most_s
        heap = self._heap
        while going():
            when = heap[0][0] if heap else end
            if min(when, end) > self._until:
                self.now = self._until
                raise Stuck
            if not heap or when > end:
                self.now = end
                return
            _, _, act, given = heapq.heappop(heap)
            self.now = max(self.now, when)
            act(*given)

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass."""
        self.run(lambda: True, seconds)

    def settle_down(self) -> None:
        """After a step, what is on its way still arrives."""
        self.pass_time(AFTER_S)

    def close(self) -> None:
        """Nothing is held that would have to be let go."""

    def wait(self, seconds: float) -> None:
        """Time passes because the story says so: its limit moves along. Whole days pass on the calendars alone."""
        days = int(seconds // DAY_S)
        if days:
            self.began += days * DAY_S
            self.witness.began_s -= days * DAY_S
            seconds = max(seconds - days * DAY_S, HOUR_S)
        self._until += seconds
        self.pass_time(seconds)

    # the opening

    def open(self) -> None:
        """Start all processes, wait for the lines, sign in who is signed in; then the story begins."""
        for name in LINES:
            self.use_rules(name, self.troupe.hosts.get(name, []))
        for host in (*self.centres.values(), self.switch):
            host.start()
        self.run(lambda: not self.ready(), OPENING_S)
        for name, till in self.troupe.tills.items():
            if till.notes:
                self.booths[name].fill(till.notes)
            if till.signed_in:
                booth = self.booths[name]
                booth.begin(pos.sign_in(booth.memory, self.line))
                self.run(lambda booth=booth: booth.busy, OPENING_S)  # type: ignore[misc]
        self._until = self.now + self.story.limit_s
        self.witness.begin()

    def ready(self, *names: str) -> bool:
        """Whether lines are ready for requests."""
        if not self.switch.up:
            return False
        lines = self.switch.machine.status()["counterparts"]
        return all(lines[name]["ready"] for name in names or LINES)

    def use_rules(self, name: str, rules: list[Block]) -> None:
        """Put operator rules in force at a host, in place of those before."""
        fresh = self.ground.in_force[name] = host_rules(rules, self.troupe)
        if self.centres[name].machine is not None:
            self.centres[name].machine.rules = fresh


def _epoch(story: Story) -> float:
    """Wall seconds at the begin of a story: Beijing time."""
    if story.began is None:
        return NOON
    return story.began.replace(tzinfo=UTC).timestamp() - BEIJING_S
