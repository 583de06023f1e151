"""Makes faults happen: one method a kind, called `on_KIND`, and what ends them all before the liveness phase."""

import random
from typing import TYPE_CHECKING, Any

from scenarios.world.faults import Fault
from scenarios.world.hostile import Hostile
from scenarios.world.mishaps import Mishaps
from scenarios.world.network import End, Road
from scenarios.world.store import Store, Trouble
from scenarios.world.visitors import Visitors
from switch.clearing.schema import SWITCH_TABLES
from switch.net.disk import StoreInUse
from terminals.device.atm import AtmMemory

if TYPE_CHECKING:
    from scenarios.world.actors import Device
    from scenarios.world.host import Host
    from scenarios.world.world import World

DRAIN_S = 10.0
JUMPS = (3600.0, -3600.0, 86_400.0, -86_400.0, 2.0, -2.0)
SALE = b"\x02\x00"
LATE_S = (29.9, 29.99, 30.05, 30.4, 36.0, 90.0)


class Nemesis(Mishaps):
    """Strikes a world with planned faults; each draws on a stream of its own, so that dropping one moves no other."""

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self.hostile = Hostile(world)
        self.visitors = Visitors(world)
        self._number = 0

    def strike(self, number: int, fault: Fault) -> None:
        """Make one fault happen; it counts as fired when there was something to hit."""
        if self._over:
            return
        self._number = number
        self._draw = random.Random(f"{self.world.seed}/fault/{number}/{fault.kind}/{fault.at}")
        if getattr(self, f"on_{fault.kind}")(fault) is not False:
            self.world.fired[fault.kind] += 1

    def heal(self) -> None:
        """No more faults: all roads are clear, all disks sound, all processes run."""
        world = self.world
        self._over = True
        for road in [*world.roads.values(), *(device.road for device in world.devices)]:
            road.held = [0.0, 0.0]
            road.slice, road.pace, road.jitter, road.cut, road.hostile = 0, 0.0, 0.0, False, None
            road.latency = min(road.latency, 0.08)
        for host in world.hosts.values():
            host.sync_s = 0.0
            host.platter.troubles.clear()
        for name, rules in world.ground.rules.items():
            rules.clear()
            self._use_rules(name)
        for device in world.devices:
            if isinstance(device.memory, AtmMemory):
                device.memory.vault.faults.clear()
        for device in world.devices:
            device.tear, device.pull, device.dark = "", 0, False
        world.purse.stray = 0.0
        world.halls.leaves = 0.0
        self.visitors.leave()

    # finding the target

    def _host(self, fault: Fault) -> "Host":
        return self.world.hosts[fault.target]

    def _road(self, fault: Fault) -> Road:
        return self._device(fault).road if fault.target == "terminal" else self.world.roads[fault.target]

    # processes

    def on_kill(self, fault: Fault) -> bool:
        host = self._host(fault)
        up = host.up
        host.kill_and_restart(fault.for_s)
        return up

    def on_kill_at_commit(self, fault: Fault) -> None:
        before = self._draw.random() < 0.6
        self._host(fault).platter.troubles.append("dies before sync" if before else "dies after sync")
        self.world.reached("killed before the sync" if before else "killed after the sync")

    def on_kill_recovering(self, fault: Fault) -> bool:
        host = self._host(fault)
        up = host.up
        host.kill_and_restart(0.5)
        deaths: list[Trouble] = ["dies before sync", "dies after sync"]
        host.platter.troubles[:0] = deaths[: self._draw.randint(1, 2)]
        return up

    def on_sigterm(self, fault: Fault) -> bool:
        host = self._host(fault)
        up = host.up
        host.drain(lambda machine: machine.status()["inflight"], DRAIN_S)
        return up

    def on_stop(self, fault: Fault) -> bool:
        self._host(fault).stop_for(fault.for_s)
        return self._host(fault).up

    def on_second_switch(self, fault: Fault) -> bool:
        host = self._host(fault)
        if not host.up:
            return False
        try:
            Store(host.platter, SWITCH_TABLES)
        except StoreInUse:
            self.world.reached("a second process refused")
        else:
            self.world.judge.broken("W1", "two processes hold one store")
        return True

    def on_power_off(self, fault: Fault) -> bool:
        return self._when_busy(fault, lambda device: device.power_off(fault.for_s))

    def _when_busy(self, fault: Fault, act: Any, tries: int = 200) -> bool:
        """Do it once the terminal is in a dialogue, at a random moment of it."""
        device, draw = self._device(fault), self._draw

        def look(left: int) -> None:
            if self._over:
                return
            if device.busy or not left:
                act(device)
            else:
                self._later(0.05 + 0.3 * draw.random(), look, left - 1)

        look(tries)
        return True

    # the terminals' side

    def on_half_open(self, fault: Fault) -> bool:
        device = self._device(fault)
        if device.end is None:
            return False
        device.close(quietly=True)
        return True

    def on_reset(self, fault: Fault) -> bool:
        road = self._road(fault)
        if not road.wires:
            return False
        road.slice, before = 7, road.slice  # the next frames are in pieces when it breaks

        def snap() -> None:
            road.slice = before
            road.break_all()

        self._later(0.2 + self._draw.random() * 6, snap)
        return True

    def on_hang_up(self, fault: Fault) -> bool:
        def hang_up(device: "Device") -> None:
            end = device.end
            if end is not None:
                device.close()
                end.lost()

        return self._when_busy(fault, hang_up)

    def on_overtaken(self, fault: Fault) -> bool:
        """The next sale goes out on a connection of its own and is held up there; the terminal gives that connection
        up and takes the sale back on another."""
        device, world = self._device(fault), self.world
        road = device.road
        if device.busy or not device.memory.signed_in or road.hostile is not None:
            return False
        device.close()

        def hold(data: bytes, direction: int) -> list[bytes]:
            end = device.end
            if direction or end is None or data[13:15] != SALE:
                return [data]
            road.hostile = None
            world.at(world.now + fault.for_s, road.name, end.late, data)
            world.at(world.now + 0.5, "terminal", give_up, end)
            return []

        def give_up(end: End) -> None:
            if device.end is end:
                device.close(quietly=True)
                end.lost()

        road.hostile = hold
        return True

    def on_slices(self, fault: Fault) -> None:
        road = self._road(fault)
        road.slice = 1
        self._later(fault.for_s, setattr, road, "slice", 0)

    def on_coalesced(self, fault: Fault) -> None:
        road = self._road(fault)
        road.held = [self.world.now + fault.for_s] * 2

    def on_slow_loris(self, fault: Fault) -> bool:
        return self.visitors.come(b"\x00\x40\x60\x00\x03", every_s=10.0)

    def on_bad_length(self, fault: Fault) -> bool:
        prefix = self._draw.choice((b"\x00\x00", b"\x00\x01", b"\xff\xff", b"\x7f\xff"))
        return self.visitors.come(prefix + self._draw.randbytes(40))

    def on_garbage(self, fault: Fault) -> bool:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        return self.visitors.come(self._draw.choice((hello, b"GET / HTTP/1.1\r\n\r\n", self._draw.randbytes(200))))

    def on_says_nothing(self, fault: Fault) -> bool:
        return self.visitors.come(b"")

    def on_storm(self, fault: Fault) -> None:
        for device in self.world.devices:
            device.road.break_all()

    def on_stranger(self, fault: Fault) -> bool:
        return self.visitors.stranger(self._device(fault), self._draw)

    def on_slow_access(self, fault: Fault) -> None:
        self.on_slow_line(fault)

    def on_replay(self, fault: Fault) -> bool:
        return self.visitors.replay(self._device(fault), self._draw)

    def on_other_amount(self, fault: Fault) -> bool:
        return self.visitors.other_amount(self._device(fault), self._draw)

    def on_flip_request(self, fault: Fault) -> None:
        self.hostile.spoil(self._road(fault), fault.for_s, self._draw, direction=0)

    # lines

    def on_line_down(self, fault: Fault) -> None:
        road = self._road(fault)
        road.cut = True
        road.break_all()
        self._later(fault.for_s, setattr, road, "cut", False)

    def on_slow_line(self, fault: Fault) -> None:
        road = self._road(fault)
        before = road.latency, road.jitter
        road.latency, road.jitter = self._draw.choice((0.3, 2.0, 8.0)), self._draw.choice((0.0, 3.0, 20.0))

        def over() -> None:
            road.latency, road.jitter = before

        self._later(fault.for_s, over)

    def on_narrow(self, fault: Fault) -> None:
        road = self._road(fault)
        road.pace = 1000.0
        self._later(fault.for_s, setattr, road, "pace", 0.0)

    def on_one_way(self, fault: Fault) -> None:
        self._road(fault).held[self._draw.randrange(2)] = self.world.now + fault.for_s

    def on_flap(self, fault: Fault) -> None:
        road, end = self._road(fault), self.world.now + fault.for_s

        def down() -> None:
            if self._over or self.world.now >= end:
                return
            road.break_all()
            self._later(2.0, down)

        down()

    def on_twice(self, fault: Fault) -> None:
        self.hostile.say_again(self._road(fault), fault.for_s, self._draw)

    def on_swapped(self, fault: Fault) -> None:
        self.hostile.swap(self._road(fault), fault.for_s, self._draw)

    def on_unknown_answer(self, fault: Fault) -> None:
        self.hostile.old_answer(fault.target, self._draw)

    def on_partial(self, fault: Fault) -> None:
        self.hostile.approve_part(fault.target, fault.for_s, self._draw)

    def on_echo(self, fault: Fault) -> None:
        self.hostile.echo(self._road(fault), fault.for_s, self._draw)

    def on_flip(self, fault: Fault) -> None:
        self.hostile.spoil(self._road(fault), fault.for_s, self._draw, direction=1)

    # counterparts

    def _use_rules(self, name: str) -> None:
        machine = self.world.centres[name].machine
        if machine is not None:
            machine.rules = self.world.ground.rule_book(name)

    def _rule(self, fault: Fault, **rule: Any) -> None:
        rules, number = self.world.ground.rules[fault.target], self._number
        rules[number] = rule
        self._use_rules(fault.target)

        def over() -> None:
            rules.pop(number, None)
            self._use_rules(fault.target)

        self._later(fault.for_s, over)

    def on_late(self, fault: Fault) -> None:
        self._rule(fault, action="delay", every=self._draw.choice((1, 2, 3)), delay_s=self._draw.choice(LATE_S))

    def on_lost_request(self, fault: Fault) -> None:
        self._rule(fault, action="silence", every=self._draw.choice((1, 2, 3)))

    def on_lost_answer(self, fault: Fault) -> None:
        kinds = ("", "reversal", "refund", "offline_sale", "atm_deposit", "account_load", "cash_load")
        self._rule(fault, action="silence_after_posting", kind=self._draw.choice(kinds))

    def on_cut_by_peer(self, fault: Fault) -> None:
        self._rule(fault, action="disconnect", every=self._draw.choice((2, 3, 5)))

    def on_refused(self, fault: Fault) -> None:
        self._rule(fault, action="code", code=self._draw.choice(("96", "91", "05", "51")), every=2)

    def on_advice_refused(self, fault: Fault) -> None:
        self.on_line_down(Fault(fault.kind, fault.at, fault.target, fault.for_s / 2))
        kind = self._draw.choice(("refund", "offline_sale", "completion_notice", "tip"))
        self._rule(fault, action="code", kind=kind, code="05")

    def on_rejected(self, fault: Fault) -> None:
        self.hostile.reject(self._road(fault), fault.for_s, self._draw)

    def on_reversal_refused(self, fault: Fault) -> None:
        self.world.reached("a reversal kept until the other side took it")
        self._rule(fault, action="code", kind="reversal", code=self._draw.choice(("96", "91", "30")))

    def on_cutover(self, fault: Fault) -> bool:
        return self.hostile.cutover(fault.target, fault.for_s)

    def on_key_reset(self, fault: Fault) -> bool:
        host = self._host(fault)
        done = bool(host.call(lambda machine, now, out: machine.reset_keys(now, out)))
        if done:
            self.world.reached("keys reset under load")
        return done

    def on_key_reset_lost(self, fault: Fault) -> bool:
        done = self.on_key_reset(fault)
        road = self._road(fault)
        if self._draw.random() < 0.5:
            self._later(road.latency * 3 * self._draw.random(), road.break_all)
        else:
            road.held[self._draw.randrange(2)] = self.world.now + 20.0
        return done

    # clocks and disks

    def on_clock(self, fault: Fault) -> None:
        self._host(fault).skew += self._draw.choice(JUMPS)

    def on_disk_full(self, fault: Fault) -> None:
        self._host(fault).platter.troubles.append("enospc")

    def on_sync_fails(self, fault: Fault) -> None:
        self._host(fault).platter.troubles.append("eio")

    def on_restored(self, fault: Fault) -> bool:
        host = self._host(fault)
        host.kill_and_restart(0.5)
        return host.platter.restore_copy(self._draw.random())

    def on_tampered(self, fault: Fault) -> bool:
        host = self._host(fault)
        host.kill_and_restart(0.5)
        return host.platter.tamper(self._draw.random())

    def on_slow_sync(self, fault: Fault) -> None:
        host = self._host(fault)
        host.sync_s = self._draw.choice((0.2, 2.0))
        self._later(fault.for_s, setattr, host, "sync_s", 0.0)
