"""Full mode: every sale is a card, a kernel, a PIN pad and a dialogue, as at a shop's counter."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from loadtest.open.engine import Engine
from loadtest.open.mix import Mix
from loadtest.open.record import Record
from loadtest.open.tills import Till
from loadtest.people import ENTRIES, FULL, People, holder_of
from loadtest.verdict import failure
from switch.crypto.errors import CryptoError
from switch.wire.errors import WireError
from terminals.device import chip, pos
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import Item
from terminals.flow import Flow
from terminals.hands import CONTACTLESS, Hand

AMOUNTS: Final = (100, 10_000)


@dataclass(slots=True)
class Follow:
    """What a customer will come back for, at the same terminal."""

    till: Till
    kind: str
    item: Item
    card: Any


class Counter:
    """Serves customers at free tills. `think_s` is the pause before what follows a sale; a till settles after `batch`
    of them."""

    def __init__(
        self, tills: list[Till], line: Line, people: People, entry: str, mix: Mix, record: Record, draw: random.Random,
        think_s: float = 1.0, batch: int = FULL,
    ) -> None:  # fmt: skip
        self.in_flight = 0
        self.answered = 0
        self.unreachable = 0
        self.settled = 0
        self.engine: Engine | None = None
        self._free = deque(tills)
        self._tills = tills
        self._waiting: dict[int, deque[tuple[Follow, float]]] = {}
        self._line = line
        self._people = people
        self._interface = ENTRIES[entry]
        self._mix = mix
        self._record = record
        self._draw = draw
        self._think_s = think_s
        self._batch = batch
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()

    def begin(self, intended: float) -> bool:
        """A new customer at the till that has been free longest."""
        if not self._free:
            return False
        till = self._free.popleft()
        self._spawn(till, self._serve(till, intended, self._mix.draw(self._draw)))
        return True

    def follow(self, what: Any, intended: float) -> None:
        """The customer comes back; where the till is busy, they wait."""
        follow: Follow = what
        try:
            self._free.remove(follow.till)
        except ValueError:
            self._waiting.setdefault(id(follow.till), deque()).append((follow, intended))
            return
        self._spawn(follow.till, self._return(follow, intended))

    def _spawn(self, till: Till, work: Coroutine[Any, Any, None]) -> None:
        """A till has one customer at a time: the last one's task stands until the next comes."""
        self.in_flight += 1
        self._tasks[id(till)] = self._loop.create_task(work)

    async def _serve(self, till: Till, intended: float, steps: tuple[str, ...]) -> None:
        card, hand = self._people.card()
        try:
            flow = self._first(till, steps[0], card, hand)
            outcome = await self._dialogue(till, steps[0], flow, intended, card, hand)
        finally:
            self._people.back(hand)
        item = outcome.item if outcome is not None and outcome.approved else None
        if item is not None and len(steps) > 1 and self.engine is not None:
            self.engine.later(time.perf_counter() + self._think_s, Follow(till, steps[1], item, card))
        await self._after(till)

    def _first(self, till: Till, kind: str, card: Any, hand: Hand | None) -> Flow[Outcome]:
        amount = 0 if kind == "balance" else self._draw.randint(*AMOUNTS)
        if hand is None:
            return pos.transact(till.memory, self._line, kind, card, amount)
        read = chip.tap if self._interface == CONTACTLESS else chip.insert
        return read(till.memory, self._line, kind, card, amount, force_online=True, e_cash=False)

    async def _return(self, follow: Follow, intended: float) -> None:
        item, memory = follow.item, follow.till.memory
        if item.undone or item not in memory.items:
            await self._after(follow.till)  # its batch has been settled meanwhile
            return
        amount = item.total_minor
        flow = pos.transact(
            memory, self._line, follow.kind, follow.card, amount, item, entry=pos.KEYED, pin=follow.kind != "refund"
        )
        await self._dialogue(follow.till, follow.kind, flow, intended, follow.card, None)
        await self._after(follow.till)

    async def _dialogue(
        self, till: Till, kind: str, flow: Flow[Outcome], intended: float, card: Any, hand: Hand | None
    ) -> Outcome | None:
        till.sent = till.heard = 0.0
        try:
            outcome = await till.session.run(flow, holder_of(card, hand), hand)
        except (WireError, CryptoError) as error:
            now = time.perf_counter()
            self._record.answered(kind, intended, now, now, "", False, type(error).__name__)
            return None
        done = till.heard or time.perf_counter()
        why = failure(outcome)
        if outcome.response_code:
            self.answered += 1
        elif outcome.reason == "unreachable":
            self.unreachable += 1
        self._record.answered(
            kind, intended, till.sent or done, done, outcome.response_code, outcome.approved, why
        )  # fmt: skip
        return outcome

    async def _after(self, till: Till) -> None:
        """Who waited for this till is next; a till whose batch is nearly full settles first."""
        self.in_flight -= 1
        waiting = self._waiting.get(id(till))
        if waiting:
            follow, intended = waiting.popleft()
            self._spawn(till, self._return(follow, intended))
            return
        memory = till.memory
        if len(memory.items) >= self._batch:
            await self._settle(till)
        self._free.append(till)

    async def _settle(self, till: Till) -> None:
        """Between two customers: the totals, a new batch, and the old one forgotten."""
        memory, line = till.memory, self._line
        for flow in (pos.settle(memory, line), pos.sign_in(memory, line)):
            await till.session.run(flow, lambda asked: "")
        memory.closed.clear()
        self.settled += 1

    async def put_right(self, until: float) -> int:
        """Reversals that are still owed go out; how many tills still owe something at `until`."""
        while True:
            owing = [till for till in self._tills if till.memory.owes]
            if not owing or time.perf_counter() >= until:
                return len(owing)
            for till in owing:
                await till.session.run(pos.put_right(till.memory, self._line), lambda asked: "")
                if time.perf_counter() >= until:
                    break
            await asyncio.sleep(0.2)

    def close(self) -> None:
        """Give up what is under way and close every connection."""
        for task in self._tasks.values():
            task.cancel()
        for till in self._tills:
            till.session.close()
