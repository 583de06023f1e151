"""Passengers at a fleet's bus validators: electronic cash, offline, one tap after another. Nobody is called.

A validator is made of its row for a tap and put back after it; its taps stay with it. How they come to the acquirer is
the back office's part (`terminals.device.backoffice`), which the demo plays.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from terminals.device import validator
from terminals.drive.pump import pump
from terminals.flow import Ask
from terminals.hands import CONTACTLESS, Hand
from terminals.kernel.parameters import Parameters
from terminals.rows import GateRows
from terminals.trade import Trade


class Rides(Trade):
    """A Trade of passengers; it has no terminals at the acquirer. `refused` says why gates stayed closed, `paid_minor`
    is what all rides came to.
    """

    def board(self, gates: GateRows, parameters: Parameters, entropy: Callable[[int], bytes]) -> "Rides":
        """The gates they come to, and what these read cards with."""
        self._gates = gates
        self._reader = (parameters, entropy)
        self.rides = self.paid_minor = 0
        self.refused: Counter[str] = Counter()
        return self

    async def run(self, until: float, rate: float) -> None:
        """`rate` passengers a second until the loop's clock shows `until`."""
        async for open_still in self._arrivals(until, rate):
            hand = self._loadable(CONTACTLESS, room=0) if open_still else None
            if hand is not None:
                self._ride(self._draw.randrange(len(self._gates)), hand)

    def _ride(self, number: int, hand: Hand) -> None:
        gate = self._gates.take(number)
        try:
            kernel = validator.reader(*self._reader, serial=gate.tid)
            flow = validator.tap(gate, kernel, datetime.now())
            told = pump(flow, lambda effect: hand.again() if isinstance(effect, Ask) else None, hand)
        finally:
            self._gates.put(number)
            if self.hands is not None:
                self.hands.put(hand)
        self.rides += told.open
        self.paid_minor += told.amount_minor if told.open else 0
        if not told.open:
            self.refused[told.reason] += 1
