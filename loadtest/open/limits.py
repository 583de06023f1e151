"""What this machine can give: refusals before a run, each with the number that would work."""

import time
from collections.abc import Callable
from typing import Final

from terminals.limits import Impossible, descriptors, memory_bytes, ports

__all__ = ["Impossible", "check_lean", "check_rate", "check_terminals", "cost_of"]

BYTES_A_TERMINAL: Final = 60_000
"""A terminal of a run with its kernel, session and open batch, rounded up (measured: 52 KB with 300 items)."""
BUSY_MAX: Final = 0.9
"""Share of a core that the generator may use: beyond it, it is late by itself."""
RATE_MAX: Final = 1_000_000.0


def check_terminals(
    terminals: int,
    descriptors: Callable[[], int] = descriptors,
    ports: Callable[[], int] = ports,
    memory: Callable[[], int] = memory_bytes,
) -> None:
    """Raises Impossible where there are more terminals than connections, ports or memory."""
    for what, most in (
        ("open files (ulimit -n)", descriptors()),
        ("local ports to one host (net.ipv4.ip_local_port_range)", ports()),
        ("free memory", int(memory() * 0.8) // BYTES_A_TERMINAL),
    ):
        if terminals > most:
            raise Impossible(f"{terminals:,} terminals are more than the {what} of this machine: {most:,} would work")


def check_rate(peak: float, cost_s: float, mode: str) -> None:
    """Raises Impossible where `peak` transactions a second, at `cost_s` of CPU each, are more than a core gives."""
    most = BUSY_MAX / cost_s if cost_s > 0 else RATE_MAX
    if peak > min(most, RATE_MAX):
        told = min(most, RATE_MAX)
        told -= told % (100 if told > 1000 else 1)
        raise Impossible(
            f"{peak:,.0f} a second are more than one process gives here in {mode} mode "
            f"({cost_s * 1e6:,.0f} us of CPU each): {told:,.0f} would work"
        )


def check_lean(total: float, terminals: int, each: int) -> None:
    """Raises Impossible where lean terminals would fill their batches before the end."""
    if total > terminals * each:
        needed = int(-(-total // each))
        raise Impossible(
            f"{terminals:,} terminals sell {terminals * each:,} times in lean mode, the run has {total:,.0f} sales: "
            f"{needed:,} terminals would work"
        )


def cost_of(act: Callable[[], None], least_s: float = 0.15) -> float:
    """Seconds of CPU that `act` takes, measured now."""
    act()
    began, done = time.process_time(), 0
    while time.process_time() - began < least_s:
        act()
        done += 1
    return (time.process_time() - began) / done
