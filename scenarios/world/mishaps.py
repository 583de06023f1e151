"""What happens to people, their cards and the machines they stand at: the half of the faults that needs no network."""

import random
from typing import TYPE_CHECKING, Any

from scenarios.world.faults import Fault
from terminals.device.atm import AtmMemory
from terminals.device.cash import Fault as Jam
from terminals.device.memory import STAN_MAX

if TYPE_CHECKING:
    from scenarios.world.actors import Device
    from scenarios.world.world import World


class Mishaps:
    """Faults at the counter. `_draw` is the chance of the fault that happens now; `_over`: none happens any more."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._over = False
        self._draw = random.Random(0)

    def _device(self, fault: Fault) -> "Device":
        return self.world.devices[fault.n]

    def _machine(self, fault: Fault) -> AtmMemory:
        machines = [device.memory for device in self.world.devices if isinstance(device.memory, AtmMemory)]
        return machines[fault.n % len(machines)]

    def _later(self, seconds: float, act: Any, *given: Any) -> None:
        self.world.at(self.world.now + seconds, "fault ends", act, *given)

    def on_rush(self, fault: Fault) -> None:
        world = self.world
        gap = world.gap_s
        world.gap_s = gap / 6
        for device in world.devices:
            world.at(world.now + self._draw.random(), "customer", world.nemesis.visit, device)
        self._later(fault.for_s, setattr, world, "gap_s", gap)

    def visit(self, device: "Device") -> None:
        """One customer more, now."""
        if self.world.trading:
            device.visit()

    def on_stray_card(self, fault: Fault) -> None:
        self.world.purse.stray = 0.2
        self._later(fault.for_s, setattr, self.world.purse, "stray", 0.0)

    def on_jam_none(self, fault: Fault) -> None:
        self._machine(fault).vault.faults.append(Jam("none"))

    def on_jam_part(self, fault: Fault) -> None:
        self._machine(fault).vault.faults.append(Jam("part", 1))

    def on_jam_unknown(self, fault: Fault) -> None:
        self._machine(fault).vault.faults.append(Jam("unknown", self._draw.randint(0, 2)))

    def on_left_behind(self, fault: Fault) -> None:
        self.world.halls.leaves = 0.3
        self._later(fault.for_s, setattr, self.world.halls, "leaves", 0.0)

    def _wants(self, device: "Device", wish: str) -> bool:
        """The next customer at a terminal with a reader comes for this."""
        if device.memory.reader is None:
            return False
        device.site.wish, device.site.visits = wish, 0
        self._later(self._draw.random(), self.visit, device)
        return True

    def on_torn_tap(self, fault: Fault) -> bool:
        device = self._device(fault)
        device.tear = "paying" if self._draw.random() < 0.5 else "paid"
        return self._wants(device, "sale")

    def on_torn_load(self, fault: Fault) -> bool:
        device = self._device(fault)
        device.tear = "before_script" if self._draw.random() < 0.5 else "after_script"
        return self._wants(device, self._draw.choice(("load_designated", "load_other", "load_cash")))

    def on_dark_load(self, fault: Fault) -> bool:
        device = self._device(fault)
        device.dark = True
        return self._wants(device, self._draw.choice(("load_designated", "load_other", "load_cash")))

    def on_pulled(self, fault: Fault) -> bool:
        device = self._device(fault)
        device.pull = self._draw.randint(1, 24)
        return device.memory.reader is not None

    def on_cancel(self, fault: Fault) -> None:
        self._device(fault).cancels = True

    def on_terminal_wrap(self, fault: Fault) -> None:
        """A number is used once in a batch, so it wraps where a batch has just been opened."""
        memory = self._device(fault).memory

        def wrap(left: int) -> None:
            if not memory.items and memory.batch and memory.settling is None:
                memory.stan = STAN_MAX - 2
                self.world.reached("a terminal's trace number wrapped")
            elif left and not self._over:
                self._later(1.0, wrap, left - 1)

        wrap(400)
