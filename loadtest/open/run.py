"""One run: terminals signed in, customers by the schedule, debts put right, figures written as they come."""

import asyncio
import contextlib
import json
import platform
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from loadtest.garbage import collected_seldom
from loadtest.open import limits
from loadtest.open.arrivals import Curve, instants
from loadtest.open.engine import Engine
from loadtest.open.full import Counter
from loadtest.open.lean import SALES_MAX, Lines, prepared
from loadtest.open.mix import Mix
from loadtest.open.record import Record
from loadtest.open.tills import Till, install, sign_in
from loadtest.people import CARDS, FULL, People, fitted, holder_of
from switch.wire.profile import PosProfile
from switch.wire.roster import CardRow
from terminals.device import chip, pos
from terminals.device.dialogue import Line
from terminals.drive import instant
from terminals.drive.pump import no_card
from terminals.fleet import Terminal

SUMMARY: Final = "summary.json"
LATE_MS: Final = 2.0
"""A generator whose 99th percentile of lateness is above this says so."""
IO_COST_S: Final = 0.00008
"""What sending, waiting and counting cost beside card, kernel and message."""
HDR_FILES: Final = {"intended": "latency-intended", "sent": "latency-sent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a run is. `even` spaces arrivals evenly; a till settles after `batch` sales; `cap` is the most customers
    under way; cards are `own` or those of `seed`, of which a `share` (number, of how many) is this process's; `draw`
    seeds everything that comes by chance."""

    host: str
    port: int
    profile: PosProfile
    terminals: Sequence[Terminal]
    curve: Curve
    mix: Mix
    mode: str = "full"
    entry: str = "tap"
    schedule: str = "poisson"
    even: bool = False
    cap: int = 10_000
    own: Sequence[CardRow] = ()
    seed: int = 0
    cards_per_issuer: int = 20_000
    cards: int = CARDS
    draw: int = 1
    think_s: float = 1.0
    batch: int = FULL
    jtl_every: int = 1
    rest_s: float = 10.0
    share: tuple[int, int] = (0, 1)

    def told(self) -> dict[str, Any]:
        """What was ordered, for the figures."""
        return {
            "mode": self.mode, "entry": self.entry, "schedule": self.schedule, "terminals": len(self.terminals),
            "rate": round(self.curve.peak, 3), "seconds": self.curve.seconds, "expected": round(self.curve.total),
            "in_flight_max": self.cap, "mix": {"+".join(one.steps): one.share for one in self.mix.chains},
            "curve": [[round(at, 3), round(rate, 3)] for at, rate in self.curve.points],
        }  # fmt: skip


class Ready:
    """Terminals signed in and cards at hand, for one run or several (a knee's steps)."""

    def __init__(self, order: Order) -> None:
        self.line = Line(order.profile)
        self.draw = random.Random(order.draw)
        people = People(order.entry, self.draw, order.own, order.seed, order.cards_per_issuer, order.cards)
        self.people = people.share(*order.share).personalised()
        self.tills: list[Till] = []

    async def enter(self, order: Order) -> None:
        """Refuse what this machine cannot give, and sign in. Raises Impossible, NobodySignedIn."""
        limits.check_terminals(len(order.terminals))
        if order.mode == "lean":
            limits.check_lean(order.curve.total, len(order.terminals), SALES_MAX)
        memories = fitted(order.terminals, order.entry, self.draw.randbytes)
        tills = install(memories, self.line, order.host, order.port, self.draw)
        self.tills = await sign_in(tills, self.line)
        limits.check_rate(order.curve.peak * order.mix.messages, self.cost_s(order), order.mode)

    def cost_s(self, order: Order) -> float:
        """Seconds of CPU a transaction takes here, measured on the first terminal without sending."""
        memory = self.tills[0].memory
        if order.mode == "lean":
            frame = prepared(memory, self.line, self.people, order.entry)
            many = limits.cost_of(lambda: [frame("000001", bytes(6)) for _ in range(64)].clear(), 0.05)
            return many / 64 + IO_COST_S / 8
        return limits.cost_of(lambda: _unsent(self, order)) + IO_COST_S


class _Leaves(Exception):
    """The request would go to the host now."""


def _leaves(body: bytes) -> bytes | None:
    raise _Leaves


def _unsent(ready: Ready, order: Order) -> None:
    """A sale up to the moment at which its request would leave."""
    memory = ready.tills[0].memory
    card, hand = ready.people.card()
    holder = holder_of(card, hand)
    if hand is not None:
        read = chip.tap if order.entry == "tap" else chip.insert
        flow = read(memory, ready.line, "sale", card, 1000, force_online=True, e_cash=False)
    else:
        flow = pos.transact(memory, ready.line, "sale", card, 1000)
    with contextlib.suppress(_Leaves):
        instant.run(flow, _leaves, holder, hand if hand is not None else no_card)
    memory.items.clear()
    memory.pending = None
    ready.people.back(hand)


def arrivals_of(order: Order, draw: random.Random) -> Iterator[float]:
    """The instants of an order, in seconds from the start."""
    return instants(order.curve, None if order.even else draw)


class Busy:
    """The share of a core this process used since it was last asked."""

    def __init__(self) -> None:
        self._cpu, self._at = time.process_time(), time.perf_counter()

    def __call__(self) -> float:
        cpu, at = time.process_time(), time.perf_counter()
        share = (cpu - self._cpu) / max(1e-9, at - self._at)
        self._cpu, self._at = cpu, at
        return share


async def play(
    order: Order, out: Path | None, tell: Callable[[dict[str, float]], None] = lambda row: None,
    ready: Ready | None = None, arrivals: Iterator[float | None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Play a run and give its figures; what it has seen is in `out` at any time. Raises Impossible, NobodySignedIn.

    `tell` gets the row of every second; `ready` terminals that are signed in already; `arrivals` other instants than
    the order's curve has.
    """
    if ready is None:
        ready = Ready(order)
        await ready.enter(order)
    with collected_seldom():  # before the clock starts: a fleet's memory takes long to look through
        return await _played(order, out, tell, ready, arrivals)


async def _played(
    order: Order, out: Path | None, tell: Callable[[dict[str, float]], None], ready: Ready,
    arrivals: Iterator[float | None] | None,
) -> dict[str, Any]:  # fmt: skip
    draw = ready.draw
    frames = (
        [prepared(till.memory, ready.line, ready.people, order.entry) for till in ready.tills]
        if order.mode == "lean"
        else []
    )
    start = time.perf_counter() + 0.05
    record = Record(out, start, int(time.time() * 1000) + 50, order.jtl_every, Busy())
    engine = Engine(record, order.cap)
    work: Counter | Lines
    if order.mode == "lean":
        work = Lines(ready.line, record, draw, order.profile.timers.reply_s)
        await work.connect(ready.tills, frames, order.host, order.port)
        record.start = start = time.perf_counter() + 0.02
    else:
        work = Counter(
            ready.tills, ready.line, ready.people, order.entry, order.mix, record, draw, order.think_s, order.batch
        )  # fmt: skip
        work.engine = engine
    cpu = time.process_time()
    teller = asyncio.get_running_loop().create_task(_tell(record, tell))
    came = 0.0
    try:
        with _interruptible(engine):
            came = await engine.run(work, arrivals or arrivals_of(order, draw), start, order.profile.timers.reply_s + 1)
    finally:
        used = time.process_time() - cpu
        teller.cancel()
        record.close()
        owing = 0
        if isinstance(work, Counter):
            if engine.dead_after is None and came:
                owing = await work.put_right(time.perf_counter() + order.rest_s)
            settled = work.settled
        else:
            settled = 0
        figures = finished(order, record, engine, came, used) | {"settled": settled, "owing": owing}
        figures["under_way"] = work.in_flight
        work.close()
        if out is not None:
            write(out, record, figures)
    return figures


def finished(order: Order, record: Record, engine: Engine, came: float, cpu_s: float) -> dict[str, Any]:
    """The figures of a run, with what has to be said of it."""
    figures: dict[str, Any] = {
        "order": order.told(), **record.figures(max(came, 1e-3)), "generator_cpu_s": round(cpu_s, 3),
        "generator_busy": round(cpu_s / max(came, 1e-3), 3), "dead_after_s": engine.dead_after,
        "python": platform.python_version(), "rows": record.rows,
        "curves": {"intended": _thinned(record.total.intended.curve()), "sent": _thinned(record.total.sent_at.curve())},
    }  # fmt: skip
    figures["warnings"] = warnings(figures)
    return figures


def _thinned(curve: Iterator[tuple[float, float]]) -> list[list[float]]:
    """A curve with a point wherever a picture would show one."""
    kept: list[list[float]] = []
    for share, ms in curve:
        if not kept or share - kept[-1][0] > 0.002 or (1 - share) < (1 - kept[-1][0]) * 0.9:
            kept.append([round(share, 8), round(ms, 3)])
    return kept


def warnings(figures: dict[str, Any]) -> list[list[str]]:
    """What must be known before the figures are believed: [中文, English] each."""
    told: list[list[str]] = []
    late = figures["late_ms"]["p99"]
    if late > LATE_MS:
        told.append([
            f"发生器迟到: p99 {late:g} ms. 从计划时刻起的时延含此迟到",
            f"the generator was late: p99 {late:g} ms; latencies from the intended instant contain it",
        ])  # fmt: skip
    if figures["skipped"]:
        told.append([
            f"{figures['skipped']:,} 笔因在途上限或无空闲终端而跳过",
            f"{figures['skipped']:,} customers were skipped: the in-flight cap was reached, or no terminal was free",
        ])  # fmt: skip
    if figures["dead_after_s"] is not None:
        told.append([
            f"主机在 {figures['dead_after_s']:g} 秒后失联, 结果到此为止",
            f"the host was lost after {figures['dead_after_s']:g} s; the results end there",
        ])  # fmt: skip
    return told


def write(out: Path, record: Record, figures: dict[str, Any]) -> None:
    """Figures, HDR histograms (an encoded log and a table of percentiles each) and the report page."""
    from hdrh.log import HistogramLogWriter

    from loadtest.open.report import page

    for name, latencies in (("intended", record.total.intended), ("sent", record.total.sent_at)):
        histogram = latencies.hdr()
        with (out / f"{HDR_FILES[name]}.hlog").open("w") as log:
            writer = HistogramLogWriter(log)
            writer.output_log_format_version()
            writer.output_legend()
            histogram.set_start_time_stamp(0)
            histogram.set_end_time_stamp(int(figures["seconds"] * 1000))
            writer.output_interval_histogram(histogram)
        with (out / f"{HDR_FILES[name]}.hgrm").open("wb") as table:
            histogram.output_percentile_distribution(table, 1000.0)
    (out / SUMMARY).write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (out / "report.html").write_text(page(figures), encoding="utf-8")


async def _tell(record: Record, tell: Callable[[dict[str, float]], None]) -> None:
    told = 0
    while True:
        await asyncio.sleep(0.2)
        for row in record.rows[told:]:
            tell(row)
        told = len(record.rows)


@contextlib.contextmanager
def _interruptible(engine: Engine) -> Iterator[None]:
    """SIGINT and SIGTERM end the arrivals; what is under way is waited for and everything is written."""
    loop = asyncio.get_running_loop()
    numbers: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    try:
        for number in numbers:
            loop.add_signal_handler(number, engine.stop)
    except (RuntimeError, ValueError):  # not the main thread: whoever runs us listens
        numbers = ()
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def at_rate(order: Order, rate: float, seconds: float) -> Order:
    """The same order at another constant rate."""
    return replace(order, curve=Curve(((0.0, rate), (seconds, rate))), schedule="poisson")
