"""A sandwich played over sockets: the centre and the core listen, the switch under test signs on, terminals trade."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scenarios.sandwich.back import Watched, rules
from scenarios.sandwich.front import Session
from scenarios.sandwich.ground import LineConfig, Setup
from scenarios.sandwich.judge import SLACK_S, Judgement, judge
from scenarios.sandwich.keyring import Keyring
from scenarios.sandwich.machines import MachineScript
from scenarios.sandwich.mix import Chips, Script
from scenarios.sandwich.recorder import Recorder
from switch.app.config import host_and_port
from switch.clearing.schema import ISSUER_TABLES
from switch.crypto.hsm import Hsm
from switch.engine.counterpart import wire_time
from switch.issuer.centre import Centre
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY, Bank
from switch.issuer.masterkeys import take_master_keys
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.issuer.rules import read_rules
from switch.net.disk import Disk
from switch.net.listen import listen
from switch.net.perform import Performer
from switch.wire.profile import framing_of
from terminals.device import pos
from terminals.device.atm import AtmMemory
from terminals.device.dialogue import Line
from terminals.fleet import memory_of
from terminals.flow import Ask

PUSH_AFTER_S: Final = 3.0
"""A member that has signed on and applied for no keys by then is offered them."""

SETTLE_MOST_S: Final = 120.0


class SandwichFailed(Exception):
    """Nothing could be tested; the text says why."""


@dataclass(frozen=True, slots=True)
class Order:
    """How long the terminals trade, seconds between a terminal's transactions, how long to wait for the switch's
    sign-on, and how much longer than its patience it may take to reverse."""

    seconds: float = 60.0
    pace_s: float = 0.3
    wait_s: float = 60.0
    slack_s: float = SLACK_S


class _Back:
    """One line: a watched centre that listens."""

    def __init__(self, line: LineConfig, watched: Watched, performer: Performer) -> None:
        self.line = line
        self.watched = watched
        self.performer = performer
        self.pushed = False


class Sandwich:
    """One run. `tell` is told of its phases."""

    def __init__(self, setup: Setup, order: Order, tell: Callable[[str], None] = lambda phase: None) -> None:
        self._setup = setup
        self._order = order
        self._tell = tell
        keyring = Keyring(setup.pos, setup.lines, secrets.token_bytes)
        self.recorder = Recorder(keyring, setup.pos, setup.lines)
        self._portfolio = Portfolio(setup.config.seed, STANDARD_ISSUERS, setup.config.cards_per_issuer)
        for name, zmk in setup.line_keys.items():
            keyring.add_line(name, zmk)
        self._scripts: list[Script | MachineScript] = []
        lines = Line(setup.pos), Line(setup.machines)
        issuers = [n for n, i in enumerate(STANDARD_ISSUERS) if any(c.takes(i.own) for c in setup.config.lines)]
        chips = Chips(self._portfolio)
        for place, t in enumerate(setup.terminals):
            memory = memory_of(t)
            about = self._portfolio, issuers, setup.config.seed, place
            if isinstance(memory, AtmMemory):
                keyring.add_terminal(t.tid, t.suite, t.tmk, setup.machines)
                self.recorder.speaks(t.tid, setup.machines)
                self._scripts.append(MachineScript(memory, lines[1], *about, chips))
            else:
                keyring.add_terminal(t.tid, t.suite, t.tmk)
                self._scripts.append(Script(memory, lines[0], *about, chips))
            memory.stan += int(time.time()) % 1_000  # a batch that an earlier run left open knows its own numbers
        self._broken: Exception | None = None

    async def run(self) -> Judgement:
        """Play and judge. Raises SandwichFailed; CannotListen for an address of a line."""
        loop = asyncio.get_running_loop()
        since = wire_time(time.time())
        with tempfile.TemporaryDirectory(prefix="shoudan-sandwich-") as directory:
            backs, servers = [], []
            try:
                for line in self._setup.config.lines:
                    back = self._back(line, Path(directory), loop)
                    host, port = host_and_port(line.listen)
                    profile = self._setup.lines[line.name]
                    servers.append(
                        await listen(
                            back.performer, host, port, framing_of(profile), profile.timers.frame_s, name=line.name
                        )
                    )
                    backs.append(back)
                await self._signed_on(backs)
                await self._trade()
            finally:
                for server in servers:
                    server.close()
                for back in backs:
                    back.performer.close_all()
                    back.performer.flush()
                    back.performer.disk.close()
        if self._broken is not None:
            raise SandwichFailed(f"the centre could not go on: {self._broken}")
        mccs = {terminal.tid: terminal.mcc for terminal in self._setup.terminals}
        return judge(self.recorder, mccs, loop.time(), self._order.slack_s, since)

    # the back

    def _back(self, line: LineConfig, directory: Path, loop: asyncio.AbstractEventLoop) -> _Back:
        profile, setup = self._setup.lines[line.name], self._setup
        hsm = Hsm(secrets.token_bytes(32), secrets.token_bytes)
        hsm.generate(PAN_HASH_KEY, "hash", "aes", 32)
        hsm.generate(PIN_REFERENCE_KEY, "pvk", "aes", 32)
        hsm.import_clear(f"zmk/{line.name}", "zmk", profile.keys.suite, setup.line_keys[line.name])
        take_master_keys(hsm, self._portfolio)
        banks = [Bank(self._portfolio, n, hsm) for n, issuer in enumerate(STANDARD_ISSUERS) if line.takes(issuer.own)]
        centre = Centre(
            line.name, profile, line.institution, banks, hsm,
            rules=read_rules(rules(profile.timers.reply_s)), settlement_date=wire_time(time.time())[:4],
        )  # fmt: skip
        watched = Watched(centre, profile, self.recorder)
        disk = Disk(directory / f"{line.name}.db", ISSUER_TABLES)
        return _Back(line, watched, Performer(watched, disk, loop, self._failed))

    def _failed(self, error: Exception) -> None:
        self._broken = error

    async def _signed_on(self, backs: list[_Back]) -> None:
        """Wait until the switch has signed on to every line and has its keys."""
        loop = asyncio.get_running_loop()
        addresses = ", ".join(f"{back.line.name} {back.line.listen}" for back in backs)
        self._tell(f"waiting for the switch to sign on 等待签到: {addresses}")
        end, since = loop.time() + self._order.wait_s, dict[str, float]()
        while True:
            waiting = [back for back in backs if not self.recorder.keyring.line_ready(back.line.name)]
            if not waiting:
                return
            for back in waiting:
                name = back.line.name
                if name in self.recorder.signed_on:
                    since.setdefault(name, loop.time())
                    if not back.pushed and loop.time() > since[name] + PUSH_AFTER_S:
                        back.pushed = True
                        back.performer.call(back.watched.reset_keys)
            if loop.time() > end:
                back = waiting[0]
                did = "took no keys on" if back.line.name in self.recorder.signed_on else "did not sign on to"
                raise SandwichFailed(
                    f"the switch under test {did} line {back.line.name} at {back.line.listen} "
                    f"within {self._order.wait_s:g} s"
                )
            await asyncio.sleep(0.05)

    # the front

    async def _trade(self) -> None:
        loop = asyncio.get_running_loop()
        address = host_and_port(self._setup.config.front)
        sites = [(s, Session(s.line, address, s.memory.tid, self.recorder)) for s in self._scripts]
        self._tell(f"{len(sites)} terminals trade 交易中: {self._order.seconds:g} s")
        end = loop.time() + self._order.seconds
        try:
            await asyncio.gather(*(self._work(*site, n, end) for n, site in enumerate(sites)))
            if not self.recorder.asked:
                raise SandwichFailed(f"no terminal could connect to the switch at {self._setup.config.front}")
            self._tell("settling 结算, then waiting for what is still due 等待冲正")
            await asyncio.gather(*(self._settle(*site) for site in sites))
            await self._rest()
        finally:
            for _, session in sites:
                session.close()

    async def _work(self, script: Script | MachineScript, session: Session, place: int, end: float) -> None:
        """One terminal: one dialogue after the other until the end."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._order.pace_s * place / max(1, len(self._scripts)))
        while loop.time() < end and not self.recorder.full and self._broken is None:
            outcome = await session.run(script.next(), script.answer)
            script.after(outcome)
            await asyncio.sleep(self._order.pace_s)

    async def _settle(self, script: Script | MachineScript, session: Session) -> None:
        try:
            async with asyncio.timeout(SETTLE_MOST_S):
                await session.run(pos.settle(script.memory, script.line), _nobody)
        except TimeoutError:
            self.recorder.terminal_gives_up(script.memory.tid, asyncio.get_running_loop().time())

    async def _rest(self) -> None:
        """Until everything that must be reversed could have been."""
        loop = asyncio.get_running_loop()
        while True:
            left = self.recorder.due(self._order.slack_s) - loop.time()
            if left <= 0:
                return
            await asyncio.sleep(min(0.25, left + 0.01))


def _nobody(asked: Ask) -> Any:
    raise AssertionError("nobody is asked anything while a batch is settled")
