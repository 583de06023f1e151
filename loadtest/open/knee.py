"""Where it bends: the rate is stepped up until a threshold breaks, then the step is halved; and who was the limit."""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from loadtest.house import cpu_s

FULL_CORE: Final = 0.85
"""Share of a core from which a process of one thread is taken to be the limit."""
FULL_MACHINE: Final = 0.92


class Thresholds(NamedTuple):
    """What must hold at a step: the 99th percentile from the intended instant, and the share of failures and skips."""

    p99_ms: float = 50.0
    failed_share: float = 0.001
    skipped_share: float = 0.001

    def broken(self, figures: Mapping[str, Any]) -> str:
        """Which one broke, "" for none."""
        p99 = figures["intended_ms"]["p99"]
        failed, offered = figures["failed_share"], max(1, figures["offered"])
        skipped = figures["skipped"] / offered
        if figures["dead_after_s"] is not None:
            return "the host was lost"
        if failed > self.failed_share:
            return f"failed {failed:.2%} > {self.failed_share:.2%}"
        if skipped > self.skipped_share:
            return f"skipped {skipped:.2%} > {self.skipped_share:.2%}"
        return f"p99 {p99:g} ms > {self.p99_ms:g} ms" if p99 > self.p99_ms else ""


class Step(NamedTuple):
    """One step: its rate, what was reached, what broke, and each process's share of a core."""

    rate: float
    figures: dict[str, Any]
    broken: str
    busy: dict[str, float]

    def told(self) -> dict[str, Any]:
        """For JSON."""
        keys = ("per_second", "intended_ms", "sent_ms", "late_ms", "failed_share", "skipped", "offered")
        told = {key: self.figures[key] for key in keys}
        return {"rate": round(self.rate, 1), "broken": self.broken, "busy": self.busy, **told}


class Watch:
    """CPU of processes by name, this one as `generator`."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = {"generator": os.getpid(), **pids}
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        found = {}
        for name, pid in self._pids.items():
            try:
                found[name] = cpu_s(pid)
            except OSError:
                found[name] = 0.0
        return found

    def busy(self, seconds: float) -> dict[str, float]:
        """Share of a core that each used in the `seconds` since it was last asked."""
        now = self._read()
        busy = {name: round(max(0.0, now[name] - self._before[name]) / seconds, 3) for name in now}
        self._before = now
        return busy


def limit_of(step: Step, cores: int) -> str:
    """Which stage limits at this step, by what its processes used."""
    busy = step.busy
    name = max(busy, key=lambda one: busy[one])
    if busy[name] >= FULL_CORE:
        return f"{name}: {busy[name]:.0%} of its core"
    if sum(busy.values()) >= FULL_MACHINE * cores:
        shares = ", ".join(f"{one} {share:.0%}" for one, share in sorted(busy.items(), key=lambda two: -two[1]))
        return f"the machine: all {cores} cores are used ({shares}), {name} most"
    if step.figures["skipped"] and not step.figures["failed"]:
        return "the terminals: the in-flight cap was reached, or none was free"
    if step.broken.startswith("failed"):
        code = next(iter(step.figures["failures"]), "")
        return f"what is behind the switch: failures {code}, no process is at its limit"
    return f"waiting: no process is at its limit ({name} {busy[name]:.0%}); look at disk and network"


async def knee(
    run: Callable[[float], Awaitable[dict[str, Any]]],
    thresholds: Thresholds,
    first: float,
    factor: float = 1.5,
    refine: int = 2,
    most: float = 1e6,
    watch: Watch | None = None,
    tell: Callable[[Step], None] = lambda step: None,
) -> dict[str, Any]:
    """Step up from `first` by `factor` until something breaks, then halve the gap `refine` times. A step that broke is
    tried once more: a machine that stood still for a moment is no limit.

    `run` plays a step at a rate. Returns the highest rate that held (0 where the first broke), the lowest that broke
    (None where none did up to `most`), the limit, and the steps.
    """
    steps: list[Step] = []
    held, broke = 0.0, None

    async def step(rate: float) -> bool:
        return await once(rate) or await once(rate)

    async def once(rate: float) -> bool:
        if watch is not None:
            watch.busy(1.0)
        figures = await run(rate)
        busy = watch.busy(max(0.1, figures["seconds"])) if watch is not None else {}
        busy.setdefault("generator", figures["generator_busy"])
        steps.append(Step(rate, figures, thresholds.broken(figures), busy))
        tell(steps[-1])
        return not steps[-1].broken

    rate = first
    while rate <= most:
        if not await step(rate):
            broke = rate
            break
        held, rate = rate, rate * factor
    for _ in range(refine if broke is not None and held else 0):
        assert broke is not None
        rate = (held + broke) / 2
        if await step(rate):
            held = rate
        else:
            broke = rate
    broken = [one for one in steps if one.broken]
    limit = limit_of(min(broken, key=lambda one: one.rate), os.cpu_count() or 1) if broken else ""
    return {
        "knee_per_s": round(held, 1),
        "broke_at_per_s": round(broke, 1) if broke is not None else None,
        "broken": min(broken, key=lambda one: one.rate).broken if broken else "",
        "limit": limit,
        "thresholds": thresholds._asdict(),
        "steps": [one.told() for one in steps],
    }
