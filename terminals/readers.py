"""Readers for a fleet: each terminal that reads chips gets its kernel, with what earlier downloads left in it."""

import time
from collections.abc import Callable

from switch.crypto.oda import KeyRing
from switch.wire import tlv
from switch.wire.chips import ChipTable
from terminals.device import atm_chip
from terminals.device.memory import Memory
from terminals.device.reader import Clock, Reader
from terminals.fleet import Terminal
from terminals.kernel.parameters import Parameters
from terminals.kernel.session import Kernel

CDA_MODE = 3
"""A signature is asked for where the card decides offline: online the issuer's answer is proof enough."""


def calendar() -> tuple[str, str]:
    """The terminals' calendar: YYMMDD, HHMMSS."""
    now = time.localtime()
    return time.strftime("%y%m%d", now), time.strftime("%H%M%S", now)


class Readers:
    """Fits terminals with readers. `table` is the switch's chip table: what they would have downloaded long ago; they
    share a `ring` of the keys they have recovered."""

    def __init__(
        self, table: ChipTable, clock: Clock, entropy: Callable[[int], bytes], ring: KeyRing | None = None
    ) -> None:
        self.parameters = Parameters().loaded(
            aids=[tlv.write(entry.record) for entry in table.lists["5"]],
            ca_keys=[tlv.write(entry.record) for entry in (*table.lists["4"], *table.sm2_keys)],
        )
        self._table = table
        self._clock = clock
        self._entropy = entropy
        self._ring = KeyRing() if ring is None else ring

    def fit(self, terminal: Terminal, memory: Memory, fresh: bool = False) -> None:
        """Give a terminal the reader its model has, if it has one; a `fresh` one must download everything."""
        contactless = "contactless" in terminal.capabilities
        if not contactless and "contact" not in terminal.capabilities:
            return
        kernel = Kernel(
            Parameters() if fresh else self.parameters,
            self._entropy,
            serial=terminal.tid,
            # Who cannot check an SM card's signature must not let it pay in the field: it would have paid by then.
            sm=contactless or terminal.suite == "sm4",
            cda_mode=CDA_MODE,
            spent=memory.spent,
            ring=self._ring,
        )
        no_pin = self._table.no_pin
        enrolled = self._table.enrolled(terminal.mid) and not fresh
        memory.reader = Reader(
            kernel,
            self._clock,
            contactless=contactless,
            small_max=no_pin.limit_minor if enrolled else 0,
            small_bins=() if fresh else no_pin.bins,
            never_small=() if fresh else no_pin.excluded,
        )

    def of_machine(self, terminal: Terminal) -> Reader:
        """The reader of a cash machine: a slot and a field."""
        return atm_chip.reader_of(self.parameters, self._entropy, self._clock, serial=terminal.tid)
