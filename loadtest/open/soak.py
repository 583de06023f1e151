"""A soak: days in minutes. The same rate for a long time, and then: does memory grow, is anything left over, do the
books of all days agree?

A settlement day is a minute long, and tills settle in it, so that what may be forgotten is forgotten: what stays is a
leak.

Everything that could be left over is asked of the switch when the last customer has gone; the books are joined when it
has ended.
"""

import asyncio
import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from loadtest.house import House, rss_mib
from loadtest.open.run import SUMMARY, Order, Ready, play

MEMORY: Final = "memory.csv"
SLOPE_MAX: Final = 1.0
"""Per cent a minute by which a process's memory may grow in the second half."""
REST_S: Final = 30.0
WINDOW_S: Final = 1.0
"""How long a change of day lasts."""
LEFT_OVER: Final = ("inflight", "stored")
"""What a switch at rest has none of: requests with a deadline, reversals and advices to be told."""


class Finding(NamedTuple):
    """One thing that had to hold: what it is in Chinese and English, what was found, and whether that is well."""

    zh: str
    en: str
    found: str
    holds: bool


class Weights:
    """Resident memory of processes, once a second, written as it is read. `pids` are by name; 0 is passed over."""

    def __init__(self, out: Path, pids: Callable[[], Mapping[str, int]]) -> None:
        self.rows: list[dict[str, float]] = []
        self._pids = pids
        self._file = (out / MEMORY).open("w", encoding="utf-8", newline="")
        self._writer: Any = None

    def take(self, second: float) -> None:
        """Weigh them now."""
        row: dict[str, float] = {"second": second}
        for name, pid in self._pids().items():
            try:
                row[name] = round(rss_mib(pid), 2)
            except (OSError, ValueError):
                continue
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, list(row), extrasaction="ignore", lineterminator="\n")
            self._writer.writeheader()
        self._writer.writerow(row)
        self._file.flush()
        self.rows.append(row)

    def close(self) -> None:
        self._file.close()


def slope(rows: Sequence[Mapping[str, float]], name: str) -> float:
    """By how many per cent a minute a process grew over these rows, by least squares."""
    points = [(row["second"] / 60, row[name]) for row in rows if name in row]
    if len(points) < 2:
        return 0.0
    x_mean = sum(x for x, _ in points) / len(points)
    y_mean = sum(y for _, y in points) / len(points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    rise = sum((x - x_mean) * (y - y_mean) for x, y in points) / spread if spread else 0.0
    return 100 * rise / y_mean if y_mean else 0.0


def pids_of(running: House) -> dict[str, int]:
    """The house's processes, and the switch's workers where it has some."""
    found = dict(running.pids)
    workers = running.ask("switch", "status").get("workers", ())
    return found | {f"worker {number}": one["pid"] for number, one in enumerate(workers, 1)}


async def soak(
    running: House, order: Order, ready: Ready, out: Path, tell: Callable[[dict[str, float]], None], day_s: float = 0.0
) -> dict[str, Any]:
    """Play an order and watch the house meanwhile, a change of day every `day_s` (0: none); the figures of `play`, with
    `memory`, `left_over` and `days`."""
    pids = pids_of(running)
    before = _tasks(running)
    weights = Weights(out, lambda: pids)
    weights.take(0.0)

    def each(row: dict[str, float]) -> None:
        weights.take(row["second"] + 1)
        tell(row)

    days: list[str] = []
    calendar = asyncio.get_running_loop().create_task(_turn_days(running, day_s, days)) if day_s else None
    try:
        figures = await play(order, out, each, ready=ready)
    finally:
        if calendar is not None:
            calendar.cancel()
        weights.close()
    figures["memory"], figures["days"] = weights.rows, days
    figures["left_over"] = await _left_over(running) | {"tasks": _tasks(running) - before}
    return figures


async def _turn_days(running: House, day_s: float, days: list[str]) -> None:
    """Network and core go on to the next settlement date every `day_s`."""
    while True:
        await asyncio.sleep(day_s)
        date = time.strftime("%m%d", time.gmtime(time.time() + (len(days) + 1) * 86_400 + 8 * 3600))
        for name in ("centre", "core"):
            await asyncio.to_thread(running.ask, name, "cutover", date=date, window_s=WINDOW_S)
        days.append(date)


async def _left_over(running: House) -> dict[str, int]:
    """What the switch still has when it should have nothing, after waiting for that a while."""
    end = time.monotonic() + REST_S
    while True:
        status = running.ask("switch", "status")
        left = {name: int(status[name]) for name in LEFT_OVER}
        if not any(left.values()) or time.monotonic() > end:
            return left
        await asyncio.sleep(0.5)


def _tasks(running: House) -> int:
    return int(running.ask("switch", "status")["tasks"])


def reconciled(directory: Path) -> dict[str, Any]:
    """The books of a house that has ended, joined by `shoudan clearing reconcile`."""
    books = ("--journal=switch.db", "--ledger=centre.db", "--ledger=core.db")
    command = [sys.executable, "-m", "switch.app.cli", "clearing", "reconcile", *books, "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"agreed": False, "transactions": 0, "breaks": [], "fault": done.stderr.strip()[-300:]}
    return told


def findings(figures: Mapping[str, Any], books: Mapping[str, Any]) -> list[Finding]:
    """What a soak has to show, and whether it does."""
    rows = figures["memory"]
    half = [row for row in rows if row["second"] >= rows[-1]["second"] / 2]
    found = []
    for name in (name for name in rows[-1] if name != "second"):
        grows = slope(half, name)
        found.append(
            Finding(
                f"内存 {name}: 后半程每分钟增长", f"memory of {name}: growth a minute in the second half",
                f"{grows:+.2f} % ({half[0].get(name, 0):g} - {rows[-1][name]:g} MiB)", grows < SLOPE_MAX,
            )
        )  # fmt: skip
    left = {name: count for name, count in figures["left_over"].items() if count > 0}
    text = ", ".join(f"{count} {name}" for name, count in left.items()) or "0"
    found.append(Finding("遗留任务与时限", "tasks and deadlines left over", text, not left))
    owing = figures["owing"] + figures["under_way"]
    found.append(Finding("终端未了事项", "terminals that still owe or wait", f"{owing}", not owing))
    text = f"{books['transactions']:,} transactions, {len(books['breaks'])} breaks {books.get('fault', '')}".rstrip()
    found.append(Finding("对账", "the day reconciled", text, books["agreed"]))
    return found


def write(out: Path, figures: dict[str, Any], found: Sequence[Finding]) -> None:
    """Summary and report again, with what the soak showed."""
    from loadtest.open.report import page

    figures["findings"] = [one._asdict() for one in found]
    (out / SUMMARY).write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (out / "report.html").write_text(page(figures), encoding="utf-8")
