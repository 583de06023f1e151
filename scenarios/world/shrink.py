"""The fewest faults that still break what a seed broke: halves first, then one by one."""

from collections.abc import Callable, Sequence
from typing import Final

from scenarios.world.faults import Fault
from scenarios.world.world import play

RUNS_MAX: Final = 120


def shrink(seed: int, faults: Sequence[Fault], invariant: str) -> list[Fault]:
    """Faults of `seed` that are all needed for `invariant` to be broken. At most RUNS_MAX runs."""

    def broken(some: list[Fault]) -> bool:
        return any(one.invariant == invariant for one in play(seed, some)[0].violations)

    return minimal(list(faults), broken)


def minimal(faults: list[Fault], fails: Callable[[list[Fault]], bool]) -> list[Fault]:
    """Delta debugging: drop pieces of the list, smaller and smaller, as long as it still fails without them.

    >>> minimal([Fault("kill", 1.0), Fault("stop", 2.0), Fault("clock", 3.0)], lambda some: len(some) > 0 and
    ...     any(fault.kind == "stop" for fault in some))
    [Fault(kind='stop', at=2.0, target='', for_s=0.0, n=0)]
    """
    runs, size = 0, max(1, len(faults) // 2)
    while faults and runs < RUNS_MAX:
        at, dropped = 0, False
        while at < len(faults) and runs < RUNS_MAX:
            fewer = faults[:at] + faults[at + size :]
            runs += 1
            if fails(fewer):
                faults, dropped = fewer, True
            else:
                at += size
        if size == 1 and not dropped:
            break
        size = max(1, size // 2)
    return faults
