"""Two runs side by side: what became better, what worse."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from loadtest.open.run import SUMMARY

ROWS: Final = (
    ("offered", "到达 offered", 0), ("sent", "送出 sent", 0), ("per_second", "每秒 per second", -1),
    ("skipped", "跳过 skipped", 1), ("failed_share", "失败占比 failed share", 1),
    ("intended_ms.p50", "p50 计划起 intended, ms", 1), ("intended_ms.p99", "p99 计划起 intended, ms", 1),
    ("intended_ms.p99_9", "p99.9 计划起 intended, ms", 1), ("sent_ms.p50", "p50 发送起 from send, ms", 1),
    ("sent_ms.p99", "p99 发送起 from send, ms", 1), ("sent_ms.p99_9", "p99.9 发送起 from send, ms", 1),
    ("late_ms.p99", "p99 迟到 generator late, ms", 0), ("generator_busy", "发生器占核 generator busy", 0),
)  # fmt: skip
"""Figure, its name, and which way is worse: 1 more, -1 less, 0 neither."""


class Row(NamedTuple):
    """One figure of both runs; `change` is (b - a) / a, None where a is 0. `worse` by more than was allowed."""

    name: str
    a: float
    b: float
    change: float | None
    worse: bool


def read(directory: Path) -> dict[str, Any]:
    """The figures of a run. Raises ValueError naming what is wrong."""
    try:
        found: dict[str, Any] = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{directory}: holds no {SUMMARY} ({error.strerror})") from None
    except ValueError:
        raise ValueError(f"{directory / SUMMARY}: does not read") from None
    return found


def compare(a: dict[str, Any], b: dict[str, Any], allowed: float) -> list[Row]:
    """Figures of both, those worse by more than the share `allowed` marked."""
    rows = []
    for key, name, bad in ROWS:
        one, other = _at(a, key), _at(b, key)
        change = (other - one) / one if one else None
        grown = bad * (change if change is not None else (1.0 if other else 0.0))
        rows.append(Row(name, one, other, change, grown > allowed))
    return rows


def _at(figures: dict[str, Any], key: str) -> float:
    value: Any = figures
    for word in key.split("."):
        value = value.get(word, 0)
    return float(value)
