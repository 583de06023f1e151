"""Load shapes: how many users there are, over time. A day, a spike, a soak, a cut-over."""

import time
from pathlib import Path
from typing import Any, Final

from locust import LoadTestShape

from terminals.beside import ask

HOURS: Final = (
    0.10, 0.06, 0.04, 0.03, 0.04, 0.08, 0.18, 0.38, 0.55, 0.66, 0.78, 0.92,
    1.00, 0.80, 0.68, 0.66, 0.72, 0.88, 0.98, 0.95, 0.82, 0.58, 0.34, 0.18,
)  # fmt: skip
"""Of the most users, how many there are in each hour of a day."""
SPIKE: Final = 3.0
RISE: Final = 0.1
_FAST: Final = 100.0


class _Shape(LoadTestShape):
    """`most` users at the usual top, over `seconds`."""

    abstract = True

    def __init__(self, most: int, seconds: float, ground: Path | None = None) -> None:
        super().__init__()
        self.most = most
        self.seconds = seconds
        self.ground = ground

    def tick(self) -> Any:
        """(users, spawned a second), None when the time is over."""
        at = self.get_run_time() / self.seconds
        return None if at >= 1 else (max(1, round(self.most * self.part(at))), _FAST)

    def part(self, at: float) -> float:
        """Share of `most` when the share `at` of the time is over."""
        raise NotImplementedError


class DayShape(_Shape):
    """A whole day in the time given, noon and evening its peaks."""

    def part(self, at: float) -> float:
        hour, rest = divmod(at * 24, 1)
        here, there = HOURS[int(hour) % 24], HOURS[(int(hour) + 1) % 24]
        return here + (there - here) * rest


class SpikeShape(_Shape):
    """The usual number, three times as many in the middle fifth."""

    def part(self, at: float) -> float:
        return SPIKE if 0.4 <= at < 0.6 else 1.0


class SoakShape(_Shape):
    """A short rise, then the same number to the end."""

    def part(self, at: float) -> float:
        return min(1.0, at / RISE)


class CutoverShape(_Shape):
    """The same number throughout, and a change of day (日切) of network and core at half time."""

    def __init__(self, most: int, seconds: float, ground: Path | None = None) -> None:
        super().__init__(most, seconds, ground)
        self.cut: list[str] = []
        self._asked = False

    def part(self, at: float) -> float:
        if at >= 0.5 and not self._asked and self.ground is not None:
            self._asked = True
            tomorrow = time.strftime("%m%d", time.gmtime(time.time() + (24 + 8) * 3600))
            self.cut = [name for name in ("centre", "core") if _cut(self.ground / f"{name}.sock", tomorrow)]
        return min(1.0, at / RISE)


def _cut(path: Path, date: str) -> bool:
    try:
        ask(path, "cutover", timeout_s=5.0, date=date, window_s=1.0)
    except (OSError, ValueError):
        return False
    return True


SHAPES: Final = {"day": DayShape, "spike": SpikeShape, "soak": SoakShape, "cutover": CutoverShape}
