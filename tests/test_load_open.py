"""The open-loop engine's parts: schedules, latencies, mixes, limits, the loop itself on a work that is made up."""

import asyncio
import itertools
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.house import House
from loadtest.open import compare, knee, limits
from loadtest.open.arrivals import DAY, Curve, Gauge, curve, instants
from loadtest.open.engine import Engine
from loadtest.open.latency import Latencies, bucket, highest
from loadtest.open.mix import read_mix
from loadtest.open.record import COLUMNS, JTL, Record
from loadtest.open.report import page
from loadtest.open.run import Order, finished, write
from loadtest.verdict import failure
from switch.wire.profile import PosProfile, load_profile
from terminals.device.dialogue import Outcome


def profile() -> PosProfile:
    found = load_profile("unionpay-pos")
    assert isinstance(found, PosProfile)
    return found


# arrivals


def test_even_arrivals_are_where_the_curve_puts_them() -> None:
    assert list(instants(curve("constant", 2.0, 2.0))) == pytest.approx([0.25, 0.75, 1.25, 1.75])
    # a ramp from 0 to 4 in 2 s: n customers are due after sqrt(n) seconds
    assert list(instants(curve("ramp", 4.0, 2.0))) == pytest.approx([0.5**0.5, 1.5**0.5, 2.5**0.5, 3.5**0.5])


def test_poisson_arrivals_keep_the_rate_and_vary_as_chance_does() -> None:
    gaps = [b - a for a, b in _pairs(instants(curve("poisson", 1000.0, 20.0), random.Random(3)))]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert len(gaps) == pytest.approx(20_000, rel=0.03)
    assert variance**0.5 == pytest.approx(mean, rel=0.05)


def _pairs(values: Any) -> list[tuple[float, float]]:
    kept = list(values)
    return list(itertools.pairwise(kept))


@pytest.mark.parametrize("schedule", ["ramp", "spike", "day"])
def test_a_schedule_brings_as_many_as_its_curve_expects(schedule: str) -> None:
    wanted = curve(schedule, 200.0, 30.0)
    came = list(instants(wanted))
    assert len(came) == pytest.approx(wanted.total, abs=1.5)
    assert came == sorted(came)
    assert came[-1] <= 30.0


def test_a_spike_is_three_times_the_rate_in_its_fifth_and_a_day_has_its_noon() -> None:
    spike = curve("spike", 100.0, 10.0)
    assert (spike.rate(1.0), spike.rate(5.0), spike.rate(9.0)) == (100.0, 300.0, 100.0)
    day = curve("day", 100.0, 24.0)
    assert [day.rate(hour) for hour in (3.0, 12.0)] == pytest.approx([100 * DAY[3], 100.0])


def test_a_gauge_follows_the_rate_that_is_set() -> None:
    now = [0.0]
    gauge = Gauge(lambda: now[0], random.Random(1))
    arrivals, came, due = gauge.instants(), 0, None
    for tick in range(400):
        now[0] = tick * 0.1
        gauge.rate = 100.0 if tick >= 200 else 0.0
        while due is None or due <= now[0]:
            came += due is not None
            due = next(arrivals)
            if due is None:
                break
            assert due >= 19.8
    assert came == pytest.approx(2000, rel=0.1)


def test_a_gauge_that_is_asked_often_does_not_run_ahead_of_the_clock() -> None:
    clock = [100.0]
    gauge = Gauge(lambda: clock[0], random.Random(5))
    instants = gauge.instants()
    for _ in range(500):  # ten seconds without a rate, asked every 0.02 s
        assert next(instants) is None
        clock[0] += 0.02
    gauge.rate = 50.0
    found = []
    while clock[0] < 112.0:
        at = next(instants)
        if at is None:
            clock[0] += 0.02
        else:
            found.append(at)
    assert found[0] < 110.25, "the first customer comes at once"
    assert len(found) == pytest.approx(100, abs=30)


# latencies


def test_latencies_are_kept_to_three_digits() -> None:
    for us in (0, 1, 2047, 2048, 2049, 99_999, 1_234_567, 3_599_999_999):
        assert highest(bucket(us)) == pytest.approx(us, rel=0.001, abs=0.5)
        assert highest(bucket(us)) >= us


def test_percentiles_agree_with_the_library_and_with_sorting() -> None:
    draw, ours, every = random.Random(5), Latencies(), []
    for _ in range(20_000):
        us = int(draw.lognormvariate(7.5, 1.2))
        ours.add(us)
        every.append(us)
    every.sort()
    library = ours.hdr()
    assert library.get_total_count() == 20_000
    for percent, value in zip((50.0, 99.0, 99.9), ours.quantiles_us((50.0, 99.0, 99.9)), strict=True):
        assert value == pytest.approx(every[int(20_000 * percent / 100) - 1], rel=0.002)
        assert library.get_value_at_percentile(percent) == pytest.approx(value, rel=0.002)
    assert ours.ms()["mean"] == pytest.approx(sum(every) / 20_000 / 1000, abs=0.001)


# mixes


def test_a_mix_is_chains_by_share() -> None:
    mix = read_mix("sale=90, sale+void=5,preauth+completion=5")
    assert [chain.steps for chain in mix.chains] == [("sale",), ("sale", "sale_void"), ("preauth", "completion")]
    assert mix.messages == pytest.approx(1.1)
    drawn = [mix.draw(random.Random(n)) for n in range(2000)]
    assert drawn.count(("sale",)) == pytest.approx(1800, rel=0.05)


@pytest.mark.parametrize(
    "text", ["", "sale", "sale=0", "refund=1", "sale+completion=3", "sale+void+refund=1", "sale=x"]
)
def test_a_mix_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"needed|begins with|after sale"):
        read_mix(text)


# verdicts


def test_holders_refusals_are_no_failures_and_the_systems_are() -> None:
    for code in ("51", "55", "14", "61"):
        assert failure(Outcome("sale", "declined", code)) == ""
    for code in ("68", "91", "96", "98"):
        assert failure(Outcome("sale", "declined", code)) == code
    assert failure(Outcome("sale", "unknown", reason="timed out")) == "timed out"
    assert failure(Outcome("sale", "unsent", "99", reason="sign_in")) == "unsent: sign_in 99"
    assert failure(Outcome("sale", "approved", "00")) == ""


# limits


def test_what_cannot_be_given_is_refused_with_what_can() -> None:
    few, many = (lambda: 1000), (lambda: 1 << 40)
    with pytest.raises(limits.Impossible, match=r"5,000 terminals .*open files.*: 1,000 would work"):
        limits.check_terminals(5000, few, many, many)
    with pytest.raises(limits.Impossible, match=r"local ports.*: 1,000 would work"):
        limits.check_terminals(5000, many, few, many)
    with pytest.raises(limits.Impossible, match="free memory"):
        limits.check_terminals(5000, many, many, lambda: 1_000_000)
    limits.check_terminals(1000, few, few, many)
    with pytest.raises(limits.Impossible, match=r"10,000 a second .*full mode \(300 us.*: 3,000 would work"):
        limits.check_rate(10_000, 0.0003, "full")
    with pytest.raises(limits.Impossible, match=r"1,000,000 would work"):
        limits.check_rate(1e9, 0.0, "lean")
    with pytest.raises(limits.Impossible, match="102 terminals would work"):
        limits.check_lean(100_000, 10, 990)


# the loop


class Made:
    """Work that answers after `took_s`, and may be deaf from an instant on."""

    def __init__(self, record: Record, took_s: float, deaf_from: float = 1e9) -> None:
        self.in_flight = self.answered = self.unreachable = 0
        self.followed: list[tuple[Any, float]] = []
        self._record, self._took_s, self._deaf_from = record, took_s, deaf_from

    def begin(self, intended: float) -> bool:
        self.in_flight += 1
        sent = time.perf_counter()
        asyncio.get_running_loop().call_later(self._took_s, self._end, intended, sent)
        return True

    def follow(self, what: Any, intended: float) -> None:
        self.followed.append((what, intended))

    def _end(self, intended: float, sent: float) -> None:
        self.in_flight -= 1
        deaf = intended > self._deaf_from
        self.unreachable += deaf
        self.answered += not deaf
        done, why = time.perf_counter(), "unreachable" if deaf else ""
        self._record.answered("sale", intended, sent, done, "" if deaf else "00", not deaf, why)


def test_nobody_waits_for_the_one_before_and_what_is_too_many_is_skipped(tmp_path: Path) -> None:
    async def run() -> tuple[Record, Engine, Made, float]:
        start = time.perf_counter()
        record = Record(tmp_path, start, 1_000_000)
        engine, work = Engine(record, cap=5), Made(record, 0.1)
        engine.later(start + 0.3, "void")
        came = await engine.run(work, instants(Curve(((0.0, 100.0), (1.0, 100.0)))), start, 2.0)
        record.close()
        return record, engine, work, came

    record, engine, work, came = asyncio.run(run())
    total = record.total
    assert total.offered == 100
    assert total.sent + total.skipped == 100
    assert 30 <= total.sent <= 55  # five at a time, each a tenth of a second
    assert came == pytest.approx(1.0, abs=0.2)
    assert [what for what, _ in work.followed] == ["void"]
    assert engine.dead_after is None
    assert total.intended.ms()["p50"] == pytest.approx(100, abs=25)
    lines = (tmp_path / "samples.jtl").read_text().splitlines()
    assert lines[0] == JTL
    assert len(lines) == 1 + total.sent
    stamp, elapsed, label, code, *_ = lines[1].split(",")
    assert (int(stamp) >= 1_000_000, int(elapsed) >= 90, label, code) == (True, True, "sale", "00")
    rows = (tmp_path / "seconds.csv").read_text().splitlines()
    assert rows[0] == ",".join(COLUMNS)
    assert sum(int(row.split(",")[1]) for row in rows[1:]) == 100


def test_latency_from_the_intended_instant_holds_the_wait_that_latency_from_the_send_hides() -> None:
    async def run() -> Record:
        start = time.perf_counter()
        record = Record(None, start, 0)
        engine, work = Engine(record, cap=1000), Made(record, 0.001)
        asyncio.get_running_loop().call_later(0.2, time.sleep, 0.3)  # the generator itself stands still
        await engine.run(work, instants(Curve(((0.0, 200.0), (0.8, 200.0)))), start, 2.0)
        record.close()
        return record

    record = asyncio.run(run())
    assert record.total.offered == record.total.sent == 160
    assert record.total.intended.ms()["max"] > 250
    assert record.total.intended.ms()["p50"] < 100
    assert record.total.late.ms()["max"] > 250


def test_a_host_that_dies_ends_the_run_and_what_was_seen_is_kept(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("loadtest.open.engine.DEAD_S", 1.0)

    async def run() -> tuple[dict[str, Any], Record]:
        start = time.perf_counter()
        record = Record(tmp_path, start, 0)
        engine, work = Engine(record, cap=100), Made(record, 0.001, deaf_from=start + 1.0)
        flat = Curve(((0.0, 50.0), (30.0, 50.0)))
        came = await engine.run(work, instants(flat), start, 2.0)
        record.close()
        order = Order(host="", port=0, profile=profile(), terminals=(), curve=flat, mix=read_mix("sale=1"))
        figures = finished(order, record, engine, came, 0.5)
        write(tmp_path, record, figures)
        return figures, record

    figures, record = asyncio.run(run())
    assert figures["seconds"] < 6
    assert figures["dead_after_s"] == pytest.approx(1.0, abs=1.1)
    assert figures["approved"] == pytest.approx(50, abs=3)
    assert figures["failures"]["unreachable"] == figures["failed"] > 0
    assert any("the host was lost" in english for _, english in figures["warnings"])
    kept = json.loads((tmp_path / "summary.json").read_text())
    assert kept["approved"] == record.total.approved
    assert "失联" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "latency-intended.hlog").read_text().count("Tag=") == 0
    assert b"#[Mean" in (tmp_path / "latency-sent.hgrm").read_bytes()


# report, compare, knee


def told(p99: float, *, failed: float = 0.0, skipped: int = 0, per_second: float = 100.0) -> dict[str, Any]:
    ms = {"p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": p99, "p99_9": p99, "p99_99": p99, "max": p99, "mean": 1.0}
    return {
        "order": {"mode": "full", "entry": "tap", "schedule": "poisson", "terminals": 5, "rate": 100.0},
        "seconds": 2.0, "offered": 200, "skipped": skipped, "sent": 200, "approved": 200, "declined": 0,
        "failed": int(failed * 200), "failed_share": failed, "per_second": per_second, "codes": {"00": 200},
        "failures": {"91": 1} if failed else {}, "intended_ms": ms, "sent_ms": ms, "late_ms": ms, "by_kind": {},
        "warnings": [], "dead_after_s": None, "generator_busy": 0.3, "rows": [],
        "curves": {"intended": [[0.5, 1.0], [1.0, p99]], "sent": []},
    }  # fmt: skip


def test_the_report_is_one_page_with_its_pictures_in_it() -> None:
    text = page(told(9.5))
    assert text.count("<svg") == 3
    assert "http" not in text
    assert "从计划时刻 from the intended instant" in text
    assert ">9.5<" in text


def test_runs_are_compared_by_what_became_worse(tmp_path: Path) -> None:
    rows = {row.name: row for row in compare.compare(told(10.0), told(12.0, per_second=80.0), 0.1)}
    assert rows["p99 计划起 intended, ms"].worse
    assert rows["p99 计划起 intended, ms"].change == pytest.approx(0.2)
    assert rows["每秒 per second"].worse
    assert not rows["p50 计划起 intended, ms"].worse
    with pytest.raises(ValueError, match=r"holds no summary\.json"):
        compare.read(tmp_path)


def test_a_knee_is_found_between_what_held_and_what_broke() -> None:
    asked: list[float] = []

    async def run(rate: float) -> dict[str, Any]:
        asked.append(rate)
        return told(10.0 if rate <= 330 else 90.0, per_second=rate)

    found = asyncio.run(knee.knee(run, knee.Thresholds(p99_ms=50.0), 100.0, 2.0, 3))
    assert asked == [100.0, 200.0, 400.0, 400.0, 300.0, 350.0, 350.0, 325.0]
    assert (found["knee_per_s"], found["broke_at_per_s"]) == (325.0, 350.0)
    assert found["broken"] == "p99 90 ms > 50 ms"
    first = asyncio.run(knee.knee(run, knee.Thresholds(p99_ms=5.0), 100.0))
    assert (first["knee_per_s"], len(first["steps"])) == (0.0, 2)


def test_the_limit_is_named_by_what_its_processes_used() -> None:
    def limit(busy: dict[str, float], **figures: Any) -> str:
        said = told(90.0, **figures)
        return knee.limit_of(knee.Step(1.0, said, knee.Thresholds().broken(said), busy), 2)

    assert limit({"generator": 0.3, "switch": 0.97}) == "switch: 97% of its core"
    assert limit({"generator": 0.8, "switch": 0.7, "centre": 0.5}).startswith("the machine: all 2 cores are used")
    assert limit({"generator": 0.2}, skipped=50).startswith("the terminals")
    assert limit({"generator": 0.2}, failed=0.1) == "what is behind the switch: failures 91, no process is at its limit"
    assert limit({"generator": 0.2}).startswith("waiting")


def test_a_house_has_its_processes_by_name() -> None:
    assert House(Path("somewhere"), 1, 7, 10).pids == {}
