"""Latencies counted in whole microseconds to three digits: cheap to add to, the layout of an HDR histogram.

`HdrHistogram` of the library records in 2 us; adding here takes 0.3 us, and the library gets everything at the end.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

SUB_BITS: Final = 11
LONGEST_US: Final = 3_600_000_000
_HALF: Final = 1 << (SUB_BITS - 1)
_FINE: Final = 1 << SUB_BITS
QUANTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)


def bucket(us: int) -> int:
    """Which bucket a latency falls into; values up to 2,047 us have their own."""
    if us < _FINE:
        return max(us, 0)
    shift = us.bit_length() - SUB_BITS
    return shift * _HALF + (us >> shift)


def highest(number: int) -> int:
    """The highest latency of a bucket, as HDR reports it."""
    if number < _FINE:
        return number
    shift = number // _HALF - 1
    return ((number - shift * _HALF + 1) << shift) - 1


class Latencies:
    """How often each latency came. `sum_us` is exact; everything else is to three digits."""

    __slots__ = ("counts", "most_us", "sum_us")

    def __init__(self) -> None:
        self.counts: dict[int, int] = defaultdict(int)
        self.sum_us = 0
        self.most_us = 0

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    def add(self, us: int) -> None:
        """One latency."""
        if 0 <= us < _FINE:
            self.counts[us] += 1
        else:
            self.counts[bucket(us)] += 1
        self.sum_us += us
        if us > self.most_us:
            self.most_us = us

    def take(self, other: "Latencies") -> None:
        """All of another's."""
        for number, count in other.counts.items():
            self.counts[number] += count
        self.sum_us += other.sum_us
        self.most_us = max(self.most_us, other.most_us)

    def quantiles_us(self, percents: Iterable[float] = QUANTILES) -> list[int]:
        """Latencies that so many percent stayed at or below; zeros where there are none."""
        found: list[int] = []
        total = self.total
        wanted = [(percent, max(1, -(-total * percent // 100))) for percent in percents]
        seen, entries = 0, iter(sorted(self.counts.items()))
        number = 0
        for _, rank in sorted(wanted):
            while seen < rank and (entry := next(entries, None)) is not None:
                number = entry[0]
                seen += entry[1]
            found.append(min(highest(number), self.most_us) if total else 0)
        return found

    def ms(self) -> dict[str, float]:
        """The usual percentiles in milliseconds: p50, p75, ... max, and the mean."""
        names = ("p50", "p75", "p90", "p95", "p99", "p99_9", "p99_99", "max")
        told = {name: round(us / 1000, 3) for name, us in zip(names, self.quantiles_us(), strict=True)}
        return told | {"mean": round(self.sum_us / max(1, self.total) / 1000, 3)}

    def curve(self) -> Iterator[tuple[float, float]]:
        """(share of all, milliseconds) in rising order, for a picture."""
        seen, total = 0, self.total
        for number, count in sorted(self.counts.items()):
            seen += count
            yield seen / total, min(highest(number), self.most_us) / 1000

    def hdr(self) -> Any:
        """The same as an `HdrHistogram` of the library, in microseconds with three digits."""
        from hdrh.histogram import HdrHistogram

        histogram = HdrHistogram(1, LONGEST_US, 3)
        for number, count in sorted(self.counts.items()):
            histogram.record_value(max(1, highest(number)), count)
        return histogram
