"""What this machine can give a fleet: descriptors, ports, memory; refusals, each with the number that would work."""

import os
import resource
from pathlib import Path
from typing import Final

SPARE_DESCRIPTORS: Final = 64
MEMORY_SHARE: Final = 0.8
"""Of the free memory, what a fleet may take."""
ROW_BYTES: Final = 96
"""A terminal as a row, rounded up."""
SWITCH_BYTES: Final = 800
"""A terminal in the switch's memory once it has signed in, rounded up."""


class Impossible(Exception):
    """What this machine cannot give; the text names what would work."""


def descriptors() -> int:
    """Connections this process may have, after raising its own limit as far as it is allowed to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            pass
    return soft - SPARE_DESCRIPTORS


def port_range() -> tuple[int, int]:
    """The first and the last local port that a connection may leave from."""
    try:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except OSError:
        return 49_152, 65_535
    return low, high


def ports() -> int:
    """Local ports from one address to one host."""
    low, high = port_range()
    return high - low + 1


def memory_bytes() -> int:
    """Memory that can be had without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(terminals: int, a_terminal: int, free: int) -> None:
    """Raises Impossible where so many terminals need more than their share of `free` bytes."""
    most = int(free * MEMORY_SHARE) // a_terminal
    if terminals > most:
        raise Impossible(
            f"{terminals:,} terminals need {terminals * a_terminal / 2**20:,.0f} MiB, {free / 2**20:,.0f} MiB are "
            f"free: --terminals {most} would work"
        )


def check_at_once(at_once: int, most: int) -> None:
    """Raises Impossible where so many connections are open at a time that descriptors run out."""
    if at_once > most:
        raise Impossible(f"--at-once {at_once}: open files (ulimit -n) allow --at-once {most}")


def check_ports(connections: int, addresses: int, a_address: int) -> None:
    """Raises Impossible where short connections from so many addresses need more ports than there are: each stays taken
    for a minute after its end."""
    most = addresses * a_address
    if connections > most:
        raise Impossible(
            f"{connections:,} short connections from {addresses:,} addresses with {a_address:,} ports each: "
            f"--terminals {most} would work, or --addresses {-(-connections // a_address)} where the host is on "
            "loopback"
        )
