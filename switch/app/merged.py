"""What several workers say of themselves, as one answer: sums for a status, series with a label for metrics."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from switch.net.metrics import Family, Sample
from switch.timings import Timings

LABEL = "worker"


def merged_status(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers are added, lists joined; True where all say so; of texts each that differs, joined by "/"."""
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for answer in answers for name in answer):
        merged[name] = _merged([answer[name] for answer in answers if name in answer])
    return merged


def _merged(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return merged_status(values)
    if isinstance(first, list):
        return [item for value in values for item in value]
    if isinstance(first, bool):
        return all(values)
    if isinstance(first, int | float):
        return sum(values)
    return "/".join(sorted({str(value) for value in values}))


def merged_families(told: Mapping[int, Sequence[Sequence[Any]]]) -> list[Family]:
    """The workers' metrics, by place, as one page: each series with the worker (from 1) it is of."""
    heads: dict[str, tuple[Any, str, tuple[str, ...]]] = {}
    samples: dict[str, list[Sample]] = {}
    for place, families in sorted(told.items()):
        for name, kind, text, labels, values in families:
            heads.setdefault(name, (kind, text, (*labels, LABEL)))
            series = samples.setdefault(name, [])
            series += [((*given, str(place + 1)), _value(value)) for given, value in values]
    return [Family(name, *head, partial(list, samples[name])) for name, head in heads.items()]


def _value(value: Any) -> float | Timings:
    if not isinstance(value, list):
        return float(value)
    bounds, counts, total = value
    timings = Timings(tuple(bounds))
    timings.counts, timings.total = list(counts), total
    return timings
