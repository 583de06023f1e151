"""A histogram that costs next to nothing to feed: fixed bounds, one int a bucket. Both machines and rim count with it.

Feeding it is one `bisect` and two additions (a quarter of a microsecond); everything else happens when somebody looks.
"""

from bisect import bisect_left
from typing import Final

ANSWER_BOUNDS_S: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0,
)  # fmt: skip
"""For what other parties take: a millisecond to a minute."""

LOCAL_BOUNDS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""For what this machine takes: a commit, a turn of the loop."""

SIZE_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0)
"""For how many at once."""


class Timings:
    """Observations by bucket: `counts[i]` are those up to and including `bounds[i]`, the last are those beyond."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = ANSWER_BOUNDS_S) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one observation, in the unit of the bounds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)
