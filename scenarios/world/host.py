"""A process of the simulated house: a machine, its disk and its connections. The second performer beside `switch.net`.

Order is everything here as there: a Send that names a row leaves only when that row is durable, and after any storage
error nothing leaves at all. A host can be killed, stopped for a while, told to drain, and started again.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from scenarios.world.network import Clock, End, Road, Wire
from scenarios.world.store import Died, Platter, Store
from switch.clearing.schema import Table
from switch.machine import Arm, Close, Link, Machine, Now, Out, Post, Send
from switch.net.disk import StorageFailed
from switch.net.witness import BrokenChain
from switch.wire.errors import FrameError
from switch.wire.framing import Deframer, Framing

COMMIT_S: Final = 0.002
RESTART_S: Final = 1.5
"""How long whoever watches over a process takes to start it again."""
BOOTED_S: Final = 1000.0
"""How long a process's machine has been running when the world begins: to it, nought is long ago."""


class Witness(Protocol):
    """Who watches a host: the judge."""

    def connected(self, host: "Host", link: Link) -> None: ...
    def heard(self, host: "Host", link: Link, frame: Any) -> None: ...
    def stepped(self, host: "Host", out: Out) -> None: ...
    def durable(self, host: "Host", rows: list[tuple[str, tuple[Any, ...]]]) -> None: ...
    def left(self, host: "Host", send: Send) -> None: ...
    def broken(self, invariant: str, what: str) -> None: ...
    def ended(self, host: "Host", why: str) -> None: ...
    def started(self, host: "Host", rows: list[tuple[str, tuple[Any, ...]]]) -> None: ...


class Yard(Clock, Protocol):
    """What a host needs of its world."""

    draws: dict[str, random.Random]
    events: int

    @property
    def judge(self) -> Witness: ...

    def delivered(self, to: str, body: bytes) -> None: ...

    def reached(self, what: str) -> None: ...

    def wall_of(self, host: "Host") -> float: ...


class Plug:
    """One connection as its host holds it."""

    __slots__ = ("began", "deframer", "end", "heard_at", "link")

    def __init__(self, end: End, link: Link, framing: Framing, now: float) -> None:
        self.end = end
        self.link = link
        self.deframer = Deframer(framing)
        self.heard_at = now
        self.began = -1.0


class Blueprint:
    """How a host is built and what it does on its own: `build` a machine, `recover` it from rows, `dials` (name, road,
    host) lines, `framing` by link name, `idle_s` and `frame_s` of terminals' links."""

    __slots__ = ("build", "dials", "frame_s", "framing", "idle_s", "reconnect_s", "recover", "tables")

    def __init__(
        self,
        build: Callable[[], Machine],
        recover: Callable[[Any, list[tuple[str, tuple[Any, ...]]], Now, Out], None],
        framing: dict[str, Framing],
        tables: Sequence[Table],
    ) -> None:
        self.build = build
        self.recover = recover
        self.framing = framing
        self.tables = tables
        self.dials: list[tuple[str, Road, Host]] = []
        self.reconnect_s = 1.0
        self.idle_s = 300.0
        self.frame_s = 5.0


class Host:
    """One process, on its platter. `skew` is what its wall clock is off by; `busy_until` when it moves again."""

    def __init__(self, world: Yard, name: str, plan: Blueprint) -> None:
        self.world = world
        self.name = name
        self.plan = plan
        self.platter = Platter()
        self.skew = 0.0
        self.up = False
        self.listening = False
        self.draining = False
        self.busy_until = 0.0
        self.stopped_for = 0.0
        self.life = 0
        self.generation = 0
        self.sync_s = 0.0
        self.machine: Any = None
        self.store: Store | None = None
        self.plugs: dict[Link, Plug] = {}
        self._waiting: deque[Send] = deque()
        self._inbox: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()
        self._out: Out = []
        self._timer_at = 0.0
        self._committing = False

    # life

    def start(self) -> None:
        """Recover from the platter alone, then dial and listen."""
        if self.up:
            return
        world = self.world
        self.life += 1
        self.up, self.draining, self.busy_until = True, False, 0.0
        self._timer_at, self._committing = 0.0, False
        try:
            self.store = Store(self.platter, self.plan.tables, lambda rows: world.judge.durable(self, rows))
            if self.platter.true is not None:
                world.judge.broken("I28", f"{self.name} has started on a book that is not its own")
            rows = list(self.store.history())
            world.judge.started(self, rows)
            self.machine = self.plan.build()
            self._do(lambda machine, now, out: self.plan.recover(machine, rows, now, out))
            self._commit_now(self.life)
        except BrokenChain:
            self.up = False
            world.reached("a book that is not what was written refused")
            self.platter.put_right()
            world.at(world.now + RESTART_S, f"start {self.name}", self.start)
            return
        except Died:
            world.reached("killed while recovering")
            self._died()
            return
        if not self.up:
            return
        self.listening = True
        for name, road, host in self.plan.dials:
            self._dial(self.life, name, road, host)

    def kill(self, why: str = "kill") -> None:
        """kill -9: everything volatile is gone; connections are closed, or reset with what was on its way."""
        if not self.up:
            return
        self.up = self.listening = False
        self.world.judge.ended(self, why)
        self.platter.crash(self.world.draws["disk"])
        self._waiting.clear()
        self._inbox.clear()
        self._out.clear()
        for plug in list(self.plugs.values()):
            plug.link.closed = True
            if self.world.draws["network"].random() < 0.5:
                plug.end.close()  # what the kernel holds still goes out
            else:
                plug.end.closed = True
                plug.end.wire.reset()
        self.plugs.clear()
        self.store = None

    def kill_and_restart(self, after_s: float = RESTART_S, why: str = "kill") -> None:
        """Killed, and started again by whoever watches over it."""
        self.kill(why)
        self.world.at(self.world.now + after_s, f"start {self.name}", self.start)

    def _died(self) -> None:
        self.kill_and_restart()

    def stop_for(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later: nothing is lost, everything waits."""
        if self.up:
            self.busy_until = max(self.busy_until, self.world.now + seconds)
            self.stopped_for += seconds
            self.world.at(self.busy_until, f"cont {self.name}", self._catch_up, self.life)

    def drain(self, outstanding: Callable[[Any], int], most_s: float) -> None:
        """SIGTERM: listen no more, let what is in flight finish for a while, then end in order and start again."""
        if not self.up or self.draining:
            return
        self.listening, self.draining = False, True
        end = self.world.now + most_s

        def look(life: int) -> None:
            if self.life != life or not self.up:
                return
            if outstanding(self.machine) and self.world.now < end:
                self.world.at(self.world.now + 0.05, f"drain {self.name}", look, life)
                return
            if self.store is not None and self.store.pending:
                self._commit_now(life)
            if self.up:
                self.world.reached("drained on SIGTERM")
                self.kill_and_restart(why="SIGTERM")

        look(self.life)

    # the world's doors

    def now(self) -> Now:
        world = self.world
        return Now(self.ahead_s() + world.now, world.wall_of(self))

    def ahead_s(self) -> float:
        """What its monotonic clock is ahead of the world's, whatever its wall clock says."""
        return BOOTED_S

    def call(self, act: Callable[[Any, Now, Out], object]) -> object:
        """Do something to the machine from outside (a control command)."""
        return self._do(act) if self.up else None

    def _enter(self, life: int, act: Callable[..., None], *given: Any) -> None:
        """Everything that happens to a process comes through here, in order, and waits while it stands still."""
        if life != self.life or not self.up:
            return
        if self.world.now < self.busy_until or self._inbox:
            self._inbox.append((life, act, given))
            return
        try:
            act(*given)
        except Died:
            self._died()

    def _catch_up(self, life: int) -> None:
        while self._inbox and self.up and self.life == life:
            if self.world.now < self.busy_until:
                self.world.at(self.busy_until, f"cont {self.name}", self._catch_up, life)
                return
            _, act, given = self._inbox.popleft()
            try:
                act(*given)
            except Died:
                self._died()

    # connections

    def accept(self, wire: Wire, name: str = "") -> None:
        """A peer has connected to us."""
        self._plug_in(wire.ends[1], name)

    def _dial(self, life: int, name: str, road: Road, host: "Host") -> None:
        if life != self.life or not self.up or any(link.name == name for link in self.plugs):
            return
        world = self.world
        if road.cut or not (host.up and host.listening):
            world.at(world.now + self.plan.reconnect_s, f"dial {name}", self._dial, life, name, road, host)
            return
        wire = Wire(world, road, world.draws["network"])
        host.accept(wire, name)
        self._plug_in(wire.ends[0], name)

    def _plug_in(self, end: End, name: str) -> None:
        link = self._link(name)
        plug = Plug(end, link, self.plan.framing[name], self.world.now)
        self.plugs[link] = plug
        life = self.life
        end.heard = partial(self._enter, life, self._bytes, plug)
        end.lost = partial(self._enter, life, self._lost, plug)
        self._enter(life, self._up, plug)
        if not name:
            self._watch_silence(life, plug)

    def _link(self, name: str) -> Link:
        """A new connection's link, one that was never before."""
        self.generation += 1
        return Link(self.generation, name)

    def _up(self, plug: Plug) -> None:
        if not plug.link.closed:
            self.world.judge.connected(self, plug.link)
            self._do(lambda machine, now, out: machine.link_up(plug.link, now, out))

    def _watch_silence(self, life: int, plug: Plug) -> None:
        if plug.link.closed or life != self.life:
            return
        world, idle = self.world, self.plan.idle_s
        if world.now - plug.heard_at >= idle:
            world.reached("a silent connection closed")
            self._enter(life, self._bad, plug, FrameError("link", None, "nothing heard"))
            return
        world.at(plug.heard_at + idle + 0.001, "idle", self._watch_silence, life, plug)

    def _bytes(self, plug: Plug, data: bytes) -> None:
        if plug.link.closed:
            return
        world = self.world
        plug.heard_at = world.now
        deframer = plug.deframer
        try:
            frames = deframer.feed(data)
        except FrameError as error:
            self._bad(plug, error)
            return
        if frames:
            for frame in frames:
                world.delivered(self.name, frame.body)
                world.judge.heard(self, plug.link, frame)
            now = self.now()
            for frame in frames:
                self.machine.receive(plug.link, frame, now, self._out)
            self._drain()
            if not self.up:
                return
        if deframer.error is not None:
            self._bad(plug, deframer.error)
        elif not deframer.pending:
            plug.began = -1.0
        elif frames or plug.began < 0:
            plug.began = world.now
            world.at(world.now + self.plan.frame_s, "frame", self._whole, self.life, plug, world.now)

    def _whole(self, life: int, plug: Plug, began: float) -> None:
        if life == self.life and plug.began == began and plug.deframer.pending and not plug.link.closed:
            self.world.reached("a frame not whole in time")
            self._enter(life, self._bad, plug, FrameError("frame", None, "not whole in time"))

    def _bad(self, plug: Plug, error: FrameError) -> None:
        if not plug.link.closed:
            self._do(lambda machine, now, out: machine.receive_bad(plug.link, error, now, out))

    def _lost(self, plug: Plug) -> None:
        plug.link.closed = True
        if self.plugs.pop(plug.link, None) is None:
            return
        self._do(lambda machine, now, out: machine.link_down(plug.link, now, out))
        self._redial(plug.link.name)

    def _redial(self, name: str) -> None:
        for dialled, road, host in self.plan.dials:
            if dialled == name and self.up:
                when = self.world.now + self.plan.reconnect_s
                self.world.at(when, f"dial {name}", self._dial, self.life, name, road, host)

    # what machines ask

    def _do(self, act: Callable[[Any, Now, Out], object]) -> object:
        result = act(self.machine, self.now(), self._out)
        self._drain()
        return result

    def _drain(self) -> None:
        out, store = self._out, self.store
        if not out or store is None:
            return
        self.world.judge.stepped(self, out)
        closing: list[Close] = []
        for effect in out:
            if isinstance(effect, Post):
                store.add(*effect)
            elif isinstance(effect, Send):
                if effect.after > store.durable:
                    self._waiting.append(effect)
                else:
                    self._write(effect)
            elif isinstance(effect, Arm):
                self._arm(effect.at)
            else:
                closing.append(effect)
        out.clear()
        for close in closing:
            self._close(close)
        if not self._committing and store.pending:
            self._committing = True
            delay = COMMIT_S * self.world.draws["disk"].random()
            self.world.at(self.world.now + delay, "commit", self._enter, self.life, self._commit_now, self.life)

    def _write(self, send: Send) -> None:
        plug = self.plugs.get(send.link)
        if plug is None or send.link.closed:
            return
        self.world.judge.left(self, send)
        plug.end.send(self.plan.framing[send.link.name].wrap(send.body, send.header, send.tpdu))

    def _close(self, close: Close) -> None:
        plug = self.plugs.pop(close.link, None)
        if plug is None:
            return
        if close.reason == "no answer to the line test":
            self.world.reached("a line given up by its test")
        plug.link.closed = True
        plug.end.close()
        self._do(lambda machine, now, out: machine.link_down(plug.link, now, out))
        self._redial(plug.link.name)

    def _commit_now(self, life: int) -> None:
        self._committing = False
        store = self.store
        if store is None or life != self.life or not store.pending:
            return
        try:
            durable = store.commit()
        except StorageFailed:
            self.world.reached("storage failed, process stopped")
            self.kill_and_restart(why="storage")
            return
        if self.sync_s:
            self.world.reached("a slow sync")
            self.busy_until = max(self.busy_until, self.world.now + self.sync_s)
            self.stopped_for += self.sync_s
            self._inbox.appendleft((life, self._release, (durable,)))
            self.world.at(self.busy_until, f"cont {self.name}", self._catch_up, life)
            return
        self._release(durable)

    def _release(self, durable: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0].after <= durable:
            self._write(waiting.popleft())

    def _arm(self, at: float) -> None:
        when = max(self.world.now, at - self.ahead_s())  # exact: a tick is never an ulp too early for its deadline
        if self._timer_at and self._timer_at <= when:
            return
        self._timer_at = when
        self.world.at(when, f"tick {self.name}", self._tick_due, self.life, when)

    def _tick_due(self, life: int, when: float) -> None:
        if life == self.life and self._timer_at == when:
            self._timer_at = 0.0
            self._enter(life, self._tick)

    def _tick(self) -> None:
        self.world.events += 1
        self._do(lambda machine, now, out: machine.tick(now, out))
