"""Locust's statistics below a millisecond, and thresholds that set the exit code."""

from typing import Any

import locust.stats

BROKEN, SET_UP_FAILED = 1, 3
"""Exit codes: a threshold was broken; no terminal could begin."""


def fine(response_time: int | float) -> int | float:
    """Locust's buckets with two digits more: whole hundredths of a millisecond below 10, tenths below 100."""
    if response_time < 10:
        return round(response_time, 2)
    if response_time < 100:
        return round(response_time, 1)
    if response_time < 1000:
        return round(response_time)
    return int(round(response_time, -1))


def sharpen() -> None:
    """Have Locust keep what `fine` says: it rounds to whole milliseconds otherwise."""
    locust.stats.bucket_response_time = fine  # type: ignore[assignment]


def broken(stats: Any, options: Any) -> list[str]:
    """Which thresholds a run's totals break; 0 (of the failed share: below 0) asks for nothing."""
    total = stats.total
    told = []
    for percent, most in ((0.5, options.max_p50_ms), (0.99, options.max_p99_ms)):
        value = total.get_response_time_percentile(percent)
        if most > 0 and value > most:
            told.append(f"p{percent * 100:g} {value:g} ms > {most:g} ms")
    if options.max_failed_share >= 0 and total.fail_ratio > options.max_failed_share:
        told.append(f"failed {total.fail_ratio:.3%} > {options.max_failed_share:.3%}")
    if options.min_rate > 0 and total.total_rps < options.min_rate:
        told.append(f"{total.total_rps:.1f} a second < {options.min_rate:g}")
    if not total.num_requests:
        told.append("nothing was answered")
    return told
