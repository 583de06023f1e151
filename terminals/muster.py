"""A fleet's profile put to work in one process: the storm, beside a switch of its own or against a host."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from switch.wire.profile import PosProfile
from terminals.beside import Beside, ask, beside, cpu_s, lay, rss_mib
from terminals.census import Census
from terminals.device.dialogue import Line
from terminals.drive.crowd import Crowd, Sources
from terminals.limits import (
    ROW_BYTES,
    SWITCH_BYTES,
    check_at_once,
    check_memory,
    check_ports,
    descriptors,
    memory_bytes,
    port_range,
    ports,
)
from terminals.province import Province
from terminals.storm import Storm

TELL_S: Final = 0.5
BUSY: Final = 0.85
"""Share of the time at which somebody is what the others wait for."""
_ADDRESSES_MAX: Final = 60_000
_PORTS_SHARE: Final = 0.8

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StormOrder:
    """A storm. Without `host` a switch is laid in `directory` and started; `speaks` is its profile by name or path.

    `addresses` are those of loopback that connections leave from (0: as many as needed); `control` is the control
    socket of a host of ours; `hsm_ops` the rate of the HSM of our own switch (0: no model).
    """

    census: Census
    profile: PosProfile
    speaks: str
    seed: int
    directory: Path
    host: tuple[str, int] | None = None
    at_once: int = 256
    addresses: int = 0
    hsm_ops: int = 0
    control: Path | None = None

    def province(self) -> Province:
        """The terminals of this order, out of the box."""
        return Province(self.census, self.seed, Line(self.profile))

    def check(self) -> None:
        """Raises Impossible, with the number that would work."""
        terminals = self.census.terminals
        check_memory(terminals, ROW_BYTES + (0 if self.host else SWITCH_BYTES), memory_bytes())
        check_at_once(self.at_once, descriptors())
        connections = self.census.pos.terminals + self.census.atm.terminals
        check_ports(connections, self.sources or 1, ports())

    @property
    def sources(self) -> int:
        """Addresses to leave from; 0 where the host is not on loopback, and the system's own is used."""
        if self.host is not None and not self.host[0].startswith("127."):
            return 0
        if self.addresses:
            return self.addresses
        connections = self.census.pos.terminals + self.census.atm.terminals
        return min(_ADDRESSES_MAX, int(connections / (ports() * _PORTS_SHARE)) + 1)


def storm(order: StormOrder, province: Province, tell: Tell) -> dict[str, Any]:
    """All terminals sign in; the figures. Raises Impossible, HostFailed, OSError."""
    order.check()
    if order.host is not None:
        return _storm(order, province, order.host, None, tell)
    tell({"phase": "laying the ground"})
    order.directory.mkdir(parents=True, exist_ok=True)
    lay(order.directory, province.registered(), order.speaks, order.hsm_ops)
    tell({"phase": "starting the switch"})
    with beside(order.directory) as running:
        return _storm(order, province, ("127.0.0.1", running.port), running, tell)


def _storm(
    order: StormOrder, province: Province, host: tuple[str, int], running: Beside | None, tell: Tell
) -> dict[str, Any]:
    sources = Sources.loopback(order.sources, port_range()) if order.sources else Sources((), 0, 0)
    one = Storm(province)
    pid = running.process.pid if running is not None else 0
    began, told = time.monotonic(), 0.0
    cpu = (cpu_s(os.getpid()), cpu_s(pid))

    def go_on() -> bool:
        nonlocal told
        now = time.monotonic()
        if now - told >= TELL_S:
            told = now
            tell({"phase": "signing in", "signed_in": one.signed_in, "terminals": one.terminals,
                  "failed": one.failed, "elapsed_s": now - began})  # fmt: skip
        return not one.lost

    crowd = Crowd(province.line, host, sources, order.at_once, one.ended, go_on)
    interrupted = False
    try:
        crowd.run(one.next)
    except KeyboardInterrupt:
        interrupted = True
    took = time.monotonic() - began
    used = (cpu_s(os.getpid()) - cpu[0], cpu_s(pid) - cpu[1])
    status = _status(running, order.control)
    figures = {
        "profile": order.census.name,
        "terminals": province.terminals,
        **{name: getattr(order.census, name).terminals for name in ("pos", "atm", "validators")},
        "signed_in": one.signed_in,
        "failed": one.terminals - one.signed_in,
        "reasons": dict(one.reasons),
        "tried": one.tried,
        "sign_in_s": round(took, 2),
        "sign_ins_per_s": round(one.signed_in / took, 1),
        "latency_ms": one.latency_ms(),
        "at_once": crowd.most,
        "connections": crowd.connections,
        "addresses": len(sources.addresses) or 1,
        "ports_an_address": -(-crowd.connections // (len(sources.addresses) or 1)),
        "ports_there_are": ports(),
        "ports_taken_by_others": sources.taken,
        "rss_mib": rss_mib(os.getpid()),
        "rows_mib": round(province.bytes / 2**20, 1),
        "switch_rss_mib": rss_mib(pid),
        "switch_start_s": round(running.start_s, 1) if running is not None else None,
        "cpu_us_a_sign_in": {
            "fleet": round(used[0] / max(1, one.tried) * 1e6),
            "switch": round(used[1] / max(1, one.tried) * 1e6) if pid else None,
        },
        "hsm": status.get("hsm"),
        "lost": one.lost and one.signed_in < one.terminals,
        "interrupted": interrupted,
    }
    busy, mean_s = tuple(part / took for part in used), one.latency_ms()["mean"] / 1000
    return {**figures, "limit": limit(figures["hsm"], mean_s, busy) if one.signed_in else ""}


def limit(hsm: dict[str, float] | None, mean_s: float, busy: tuple[float, ...]) -> str:
    """What a storm waited for: the HSM where half of a sign-in's time (`mean_s`) and more was spent in its queue, else
    whoever had a core to itself; `busy` are the shares of a core of fleet and switch."""
    if hsm is not None and mean_s and hsm["wait_mean_s"] >= mean_s / 2:
        return (
            f"HSM: {hsm['operations']:,.0f} operations at {hsm['rate']:,.0f} a second take {hsm['busy_s']:,.1f} s; up "
            f"to {hsm['queue_max']:,.0f} waited, {hsm['wait_mean_s']:.3f} s on average"
        )
    fleet, switch = busy
    if switch >= BUSY:
        return f"switch: {switch:.0%} of a core"
    if fleet >= BUSY:
        return f"fleet: {fleet:.0%} of a core"
    return f"none of ours: fleet {fleet:.0%}, switch {switch:.0%} of a core"


def _status(running: Beside | None, control: Path | None) -> dict[str, Any]:
    """The switch's own figures, where it can be asked."""
    with suppress(OSError, ValueError):
        if running is not None:
            return dict(running.ask())
        if control is not None:
            return dict(ask(control, "status"))
    return {}
