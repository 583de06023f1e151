"""The sandwich around the switch of the in-memory house: terminals, recorder and centres in one process, no clock."""

from typing import Any

from defective_switch import plant
from house import SEED, ZMK, House

from scenarios.sandwich.back import Watched, rules
from scenarios.sandwich.judge import Judgement, judge
from scenarios.sandwich.keyring import Keyring
from scenarios.sandwich.machines import MachineScript
from scenarios.sandwich.mix import CHAINS, Chips, Script
from scenarios.sandwich.recorder import Recorder
from switch.machine import Link
from switch.wire.profile import NetworkProfile, PosProfile, load_profile
from terminals.device import pos
from terminals.device.atm import AtmMemory
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.drive.instant import run
from terminals.flow import Ask, Flow, TimedOut

PATIENCE_S = 60.0
"""How long a terminal waits."""


class Sandwich(House):
    """A house whose switch is under test, with `defects`."""

    def __init__(self, *defects: str, terminals: int = 6, machines: int = 3, contrary: bool = True) -> None:
        lines: dict[str, NetworkProfile] = {name: load_profile(name) for name in ("cups", "core")}  # type: ignore[misc]
        super().__init__(terminals, rules(30.0) if contrary else [], machines=machines)
        assert isinstance(self.pos, type(self.line.profile))
        self.recorder = Recorder(Keyring(self.pos, lines, self.entropy), self.pos, lines)
        for terminal in self.fleet:
            self.recorder.keyring.add_terminal(terminal.tid, terminal.suite, terminal.tmk)
        for name, profile in lines.items():
            self.recorder.keyring.add_line(name, ZMK)
            self.disconnect(name)
            self.centres[name] = Watched(self.centres[name], profile, self.recorder)  # type: ignore[assignment]
        self.engine = plant(self.engine, *defects)
        self.connect()
        self.links: dict[str, Link] = {}
        self._chips = Chips(self.portfolio)
        self.scripts = {memory.tid: self.script(memory, place) for place, memory in enumerate(self.memories)}

    def script(self, memory: Memory, place: int) -> Script | MachineScript:
        """What a terminal or a machine does; a machine over the profile of machines."""
        about = self.portfolio, range(5), SEED, place
        if not isinstance(memory, AtmMemory):
            return Script(memory, self.line, *about, self._chips)
        profile = load_profile("unionpay-atm")
        assert isinstance(profile, PosProfile)
        self.recorder.speaks(memory.tid, profile)
        return MachineScript(memory, Line(profile), *about, self._chips)

    def call(self, tid: str, body: bytes) -> bytes:
        """A terminal's request over its kept connection."""
        link = self.links.setdefault(tid, self.link())
        self.recorder.terminal_sends(tid, body, self.mono)
        self.deliver(link, body)
        end = self.mono + PATIENCE_S
        while True:
            reply = self.deliver_replies(tid)
            if reply is not None:
                return reply
            if self.mono >= end:
                self.recorder.terminal_gives_up(tid, self.mono)
                raise TimedOut
            self.pass_time(0.5)

    def deliver_replies(self, tid: str) -> bytes | None:
        """Everything the switch has sent, to whom it was sent; what this terminal got."""
        mine = None
        owners = {link: owner for owner, link in self.links.items()}
        while self._replies:
            link, body = self._replies.popleft()
            self.recorder.terminal_receives(owners[link], body, self.mono)
            if owners[link] == tid:
                mine = body
        return mine

    def dialogue(self, tid: str, flow: Flow[Any]) -> Any:
        def holder(asked: Ask) -> str:
            return self.scripts[tid].answer(asked)

        return run(flow, lambda body: self.call(tid, body), holder)

    def play(self, rounds: int = 2 * len(CHAINS)) -> None:
        """Each terminal in turn, so many dialogues each; then everything comes to rest."""
        for _ in range(rounds):
            for tid, script in self.scripts.items():
                script.after(self.dialogue(tid, script.next()))
        for memory in self.memories:
            self.dialogue(memory.tid, pos.settle(memory, self.scripts[memory.tid].line))
        self.pass_time(200.0)

    def judged(self) -> Judgement:
        return judge(self.recorder, {t.tid: t.mcc for t in self.fleet}, self.mono)


def found(judgement: Judgement) -> set[str]:
    """The names of the rules that were broken."""
    return {finding.rule.name for finding in judgement.found}
