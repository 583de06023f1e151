"""When customers come: a curve of rates, and the instants drawn from it.

A curve is straight lines between (second, rate) points. The instants are even (the n-th comes when n customers are due)
or a Poisson process of that rate; both are the inverse of the curve's integral.
"""

import math
import random
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

SCHEDULES: Final = ("constant", "poisson", "ramp", "spike", "day")

DAY: Final = (
    0.10, 0.06, 0.04, 0.03, 0.04, 0.08, 0.18, 0.38, 0.55, 0.66, 0.78, 0.92,
    1.00, 0.80, 0.68, 0.66, 0.72, 0.88, 0.98, 0.95, 0.82, 0.58, 0.34, 0.18,
)  # fmt: skip
"""A shop day hour by hour, as shares of its busiest: the two peaks are noon and the evening."""

SPIKE_FROM, SPIKE_TO = 0.4, 0.6
_EDGE: Final = 0.01


class Curve(NamedTuple):
    """Customers a second over time: straight lines between `points` (second, rate), seconds rising from 0."""

    points: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.points[-1][0]

    @property
    def peak(self) -> float:
        """Its highest rate."""
        return max(rate for _, rate in self.points)

    @property
    def total(self) -> float:
        """How many customers it expects."""
        return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(self.points, self.points[1:], strict=False))

    def rate(self, second: float) -> float:
        """The rate at a moment."""
        for (at, low), (end, high) in zip(self.points, self.points[1:], strict=False):
            if second <= end:
                return low + (high - low) * (second - at) / (end - at) if end > at else high
        return 0.0


def curve(schedule: str, rate: float, seconds: float, factor: float = 3.0) -> Curve:
    """The curve of a schedule. `factor` is how many times its rate a spike rises to, in the fifth after two fifths.

    Raises ValueError for a name that is none of SCHEDULES.
    """
    if schedule in ("constant", "poisson"):
        return Curve(((0.0, rate), (seconds, rate)))
    if schedule == "ramp":
        return Curve(((0.0, 0.0), (seconds, rate)))
    if schedule == "spike":
        begin, end, edge, top = seconds * SPIKE_FROM, seconds * SPIKE_TO, seconds * _EDGE, rate * factor
        return Curve(((0.0, rate), (begin, rate), (begin + edge, top), (end - edge, top), (end, rate), (seconds, rate)))
    if schedule == "day":
        hours = (*DAY, DAY[0])
        return Curve(tuple((seconds * n / 24, rate * share) for n, share in enumerate(hours)))
    raise ValueError(f"{schedule!r} is none of {', '.join(SCHEDULES)}")


def instants(curve: Curve, draw: random.Random | None = None) -> Iterator[float]:
    """Seconds from the start at which customers come: evenly, or by chance where `draw` is given."""
    # as `draw.expovariate(1.0)`, which is a call more for each customer (0.3 us of 36)
    step: Callable[[], float] = (lambda: 1.0) if draw is None else (lambda: -math.log(1.0 - draw.random()))
    wanted = 0.5 if draw is None else step()
    before = 0.0
    for (begin, low), (end, high) in zip(curve.points, curve.points[1:], strict=False):
        length = end - begin
        held = length * (low + high) / 2
        slope = (high - low) / length if length > 0 else 0.0
        while wanted <= before + held and held > 0:
            due = wanted - before
            yield begin + (2 * due / (low + math.sqrt(max(0.0, low * low + 2 * slope * due))) if slope else due / low)
            wanted += step()
        before += held


class Gauge:
    """Arrivals at a rate that somebody else sets while they run; `instants` ends with `stop`.

    `at_most_s` is how far ahead an arrival is looked for: a rate that rises is met within it.
    """

    __slots__ = ("_clock", "_draw", "at_most_s", "rate", "stopped")

    def __init__(self, clock: Callable[[], float], draw: random.Random, at_most_s: float = 0.1) -> None:
        self._clock = clock
        self._draw = draw
        self.at_most_s = at_most_s
        self.rate = 0.0
        self.stopped = False

    def instants(self) -> Iterator[float | None]:
        """Instants on the clock; None where none comes before `at_most_s` is over: ask again then."""
        at, owed = self._clock(), self._draw.expovariate(1.0)
        while not self.stopped:
            rate = self.rate
            if rate * self.at_most_s >= owed:
                at += owed / rate
                owed = self._draw.expovariate(1.0)
                yield at
            else:
                owed -= rate * self.at_most_s
                at += self.at_most_s
                yield None
                while at > self._clock() and not self.stopped:
                    yield None  # asked again before that time is over: what was looked at stays looked at
                at = max(at, self._clock() - self.at_most_s)
