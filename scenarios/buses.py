"""The buses of a demo day: gates that take electronic cash offline, their operator's back office, its way to the
acquirer.

Gates and office speak to each other within this process, over a link that loses an answer now and then. What the office
uploads goes to the switch over a socket, as a shop's does.
"""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from switch.crypto.hsm import Hsm
from terminals.device import backoffice, validator
from terminals.device.backoffice import BackOffice, TapStore
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.device.taps import Lists
from terminals.device.validator import ValidatorMemory
from terminals.drive.aio import Session
from terminals.drive.pump import pump
from terminals.figures import Figures
from terminals.fleet import Operator, validator_of
from terminals.flow import Ask, Call, FlowEffect, HostUnreachable, PowerOff
from terminals.hands import CONTACTLESS, Hands
from terminals.kernel.parameters import Parameters
from terminals.kernel.session import Kernel
from terminals.trade import Purse, Trade

STORE: Final = "backoffice.db"
LOST_ANSWERS: Final = 7
"""Every so many answers of the office to a gate is lost on the way."""
BLACKLIST: Final = 300
"""Card numbers on the blacklist that the gates fetch."""
FILES_S: Final = 4.0
"""How often a bus hands in its taps: a day's work in a minute."""
UPLOADS: Final = 40


class Buses(Trade):
    """Gates and their back office. `sites` are the office's terminals at the acquirer."""

    def __init__(
        self,
        line: Line,
        purse: Purse,
        figures: Figures,
        draw: random.Random,
        hands: Hands,
        operator: Operator,
        readers: tuple[Parameters, Callable[[int], bytes]],
        directory: Path,
    ) -> None:
        super().__init__(line, purse, figures, draw, {"echo": 1}, hands=hands)
        self._pockets = hands
        self.gates = [validator_of(operator, one) for one in operator.validators]
        self._kernels = [validator.reader(*readers, serial=gate.tid) for gate in self.gates]
        self._operator = operator
        hsm = Hsm(secrets.token_bytes(32), secrets.token_bytes)
        hsm.generate(backoffice.STORE, "store", "aes", 32)
        hsm.generate(backoffice.HASH, "hash", "aes", 32)
        self._hsm = hsm
        self.store = TapStore(directory / STORE)
        self.office: BackOffice | None = None
        self.refused: Counter[str] = Counter()
        self.rides = self.files = self.lost = 0
        self._asked = 0

    def open(self) -> None:
        """The office opens with lists that the gates have not got yet, once its terminals are installed."""
        lost = [card.pan for card in (self._purse.pick(self._draw) for _ in range(BLACKLIST))]
        lists = Lists(2, frozenset(lost), self._operator.lists.fares, self._operator.lists.again_minutes)
        self.office = BackOffice(self._hsm, self.store.append, lists, self.memories)
        for gate in self.gates:
            pump(validator.download(gate), self._over_the_link)

    @property
    def memories(self) -> list[Memory]:
        """The office's terminals."""
        return [site.memory for site in self.sites]

    @property
    def offices(self) -> Sequence[BackOffice]:
        return () if self.office is None else (self.office,)

    async def run(self, until: float, rate: float) -> None:
        """`rate` passengers a second until the loop's clock shows `until`; files and uploads go on meanwhile."""
        if self.office is None:
            return
        loop = asyncio.get_running_loop()
        carrier = loop.create_task(self._carry())
        at = loop.time()
        while at < until and not self._stopped:
            at += self._draw.expovariate(rate)
            late = min(at, until) - loop.time()
            if late > 0.001:
                await asyncio.sleep(late)
            if at < until:
                self._ride(*self._draw.choice(list(zip(self.gates, self._kernels, strict=True))))
        carrier.cancel()
        await asyncio.gather(carrier, return_exceptions=True)

    def _ride(self, gate: ValidatorMemory, kernel: Kernel) -> None:
        """One passenger: with a card that has electronic cash, and that is in nobody else's reader."""
        hand = self._loadable(CONTACTLESS, room=0)
        if hand is None:
            return
        try:
            flow = validator.tap(gate, kernel, datetime.now())
            told = pump(flow, lambda effect: hand.again() if isinstance(effect, Ask) else None, hand)
        finally:
            self._pockets.put(hand)
        self.rides += told.open
        if not told.open:
            self.refused[told.reason] += 1

    async def _carry(self) -> None:
        """Files to the office, and from there to the acquirer."""
        while True:
            await asyncio.sleep(FILES_S)
            self.hand_in()
            await self._upload()

    def hand_in(self) -> None:
        """Every bus closes its file and sends what it has."""
        for gate in self.gates:
            self.files += gate.close_file() is not None
            pump(validator.deliver(gate), self._over_the_link)

    def _over_the_link(self, effect: FlowEffect) -> bytes:
        """The link between gate and office: now and then the office has heard it, and nobody hears the answer."""
        if not isinstance(effect, Call) or self.office is None:
            raise TypeError("a gate calls its office and nothing else")
        answer = self.office.receive(effect.body)
        self._asked += 1
        if self._asked % LOST_ANSWERS == 0:
            self.lost += 1
            raise HostUnreachable
        return answer

    async def _upload(self) -> None:
        office = self.office
        if office is None:
            return
        for site in self.sites:
            if site.busy:
                continue
            site.busy = True
            try:
                await site.session.run(backoffice.upload(office, site.memory, self.line, UPLOADS), lambda asked: "")
            except PowerOff:
                self.figures.power_offs += 1
            finally:
                site.busy = False

    async def rest(self, until: float) -> bool:
        """Everything handed in, uploaded and settled; True when nothing is left."""
        office, loop = self.office, asyncio.get_running_loop()
        if office is None:
            return True
        while loop.time() < until:
            self.hand_in()
            await self._upload()
            if not office.waiting and not any(gate.held for gate in self.gates):
                break
            await asyncio.sleep(0.2)
        at_rest = await super().rest(until)
        for memory in self.memories:
            office.book(memory)
        return at_rest and not office.waiting and not any(gate.held for gate in self.gates)

    def close(self) -> None:
        """Close connections and the office's file."""
        super().close()
        self.store.close()

    def told(self) -> dict[str, Any]:
        """The buses' figures."""
        office = self.office
        if office is None:
            return {}
        return {
            "validators": len(self.gates),
            "rides": self.rides,
            "refused": dict(self.refused),
            "files": self.files,
            "answers_lost": self.lost,
            "files_repeated": office.counts["repeated files"],
            "taps": len(office.rides),
            "delivered": len(office.of("delivered")),
            "not_taken": len(office.of("refused")),
            "listed": len(office.of("listed")),
        }


def buses_of(
    operator: Operator, line: Line, port: int, people: Purse, figures: Figures, draw: random.Random, hands: Hands,
    readers: tuple[Parameters, Callable[[int], bytes]], directory: Path, memories: Sequence[Memory],
) -> Buses:  # fmt: skip
    """An operator's buses, with the terminals of its office installed and open for business."""
    buses = Buses(line, people, figures, draw, hands, operator, readers, directory)
    for memory in memories:
        buses.install(memory, Session(line, "127.0.0.1", port, observe=figures.observe))
    buses.open()
    return buses
