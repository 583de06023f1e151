"""The demo day: switch, network centre, core and fleet as processes, a cut-over at noon, four books at the end."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from scenarios.day import Plan
from scenarios.ground import CARDS_PER_ISSUER, Ground, lay
from scenarios.machines import planted_for
from scenarios.planted import in_order
from scenarios.planted import planted_for as chips_planted_for
from switch.app.clearing import reconcile_files
from switch.app.config import tariff_for
from switch.app.control import ask_control
from switch.app.ecash import join_files
from switch.app.fees import settle_file
from switch.clearing.ecash import ECashBook
from switch.clearing.fees import Settlement
from switch.clearing.reconcile import Reconciliation
from switch.clearing.tariff import SHIPPED
from switch.engine.counterpart import wire_time

RATE_PER_TERMINAL: Final = 0.17
"""Arrivals a second and terminal: a busy shop's."""

VALIDATORS_MAX: Final = 12
RIDES_PER_VALIDATOR: Final = 0.4
"""Gates of buses beside a whole fleet, and passengers a second at each."""

RATE_PER_MACHINE: Final = 0.1
"""Customers a second and machine."""

START_S, STOP_S, DRAIN_S = 30.0, 20.0, 60.0


class DemoFailed(Exception):
    """The day could not be played to its end; the text says what happened and where the log is."""


@dataclass(slots=True)
class DayResult:
    """All that came out of a day."""

    ground: Ground
    planted_chips: dict[str, int]
    fleet: dict[str, Any]
    switch: dict[str, Any]
    faults: dict[str, int]
    books: Reconciliation
    seconds: float
    restarts: int = 0
    recovery_s: list[float] = field(default_factory=list)
    cutover_s: float = 0.0
    ledgers_balance: bool = True
    at_rest: bool = True
    fees: Settlement = field(default_factory=Settlement)
    e_cash: ECashBook = field(default_factory=ECashBook)

    @property
    def agreed(self) -> bool:
        """The books agree, nothing was left open, and something happened at all."""
        books = self.books.agreed and self.ledgers_balance and self.fees.balanced and self.e_cash.balanced
        return books and self.planted_in_order and self.at_rest and self.fleet["authorizations"] > 0

    @property
    def doubtful_listed(self) -> int:
        """Of the planted loads in doubt, those on the suspicious list."""
        listed = {load.card_ref for load in self.e_cash.loads}
        return sum(ref in listed for ref in self.fleet["chips"]["doubtful"])

    @property
    def planted_in_order(self) -> bool:
        """Whether all that was planted with chips happened, and came to what it must."""
        return in_order(self.planted_chips, self.fleet["chips"], self.doubtful_listed)

    @property
    def chips(self) -> dict[str, Any]:
        """How cards were read, what chips decided, what was planted with them and what came of it."""
        told = {key: value for key, value in self.fleet["chips"].items() if key != "doubtful"}
        return {**told, "planted_in_order": self.planted_in_order, "doubtful_listed": self.doubtful_listed}

    @property
    def cash(self) -> dict[str, Any]:
        """The cash book of the machines, and what was planted there; empty without machines."""
        book = self.books.cash
        return {} if book is None else {**book.as_dict(), "planted": self.fleet["planted"]}

    def as_dict(self) -> dict[str, Any]:
        """The JSON that `--json` writes."""
        fleet = self.fleet
        return {
            "reconciled": self.agreed,
            "breaks": [item.as_dict() for item in self.books.breaks],
            "suspicious": [item.as_dict() for item in self.books.suspicious],
            "authorizations": fleet["authorizations"],
            "approved": fleet["approved"],
            "declined": fleet["declined"],
            "unknown": fleet["unknown"],
            "reversed": self.books.reversed,
            "by_transaction": fleet["by_transaction"],
            "by_response": fleet["by_response"],
            "business_success_rate": fleet["business_success_rate"],
            "system_success_rate": fleet["system_success_rate"],
            "latency_ms": fleet["latency_ms"],
            "authorizations_per_second": round(fleet["authorizations"] / self.seconds, 1),
            "seconds": round(self.seconds, 1),
            "terminals": self.ground.terminals,
            "atms": self.ground.atms,
            "cash": self.cash,
            "chips": self.chips,
            "e_cash": self.e_cash.as_dict(),
            "fees": {key: value for key, value in self.fees.as_dict().items() if key != "merchants"},
            "seed": self.ground.seed,
            "settlements": {
                "balanced": self.switch["settlements"] - self.switch["settlements_unbalanced"],
                "unbalanced": self.switch["settlements_unbalanced"],
            },
            "faults": self.faults,
            "switch": self.switch,
            "restarts": self.restarts,
            "recovery_s": [round(value, 3) for value in self.recovery_s],
            "directory": str(self.ground.directory),
        }


class Processes:
    """The child processes of a day, each with its log in the day's directory."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._children: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str, *arguments: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        with (self._ground.directory / f"{name}.log").open("a") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                text=True,
            )
        self._children[name] = child
        return child

    def open(self) -> None:
        """Start network, core and switch, and wait until the switch has keys on both lines. Raises DemoFailed."""
        for name in ("centre", "core", "switch"):
            self.serve(name)
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                lines = ask_control(self._ground.control("switch"), "status")["counterparts"]
                if all(line["ready"] for line in lines.values()):
                    return
            time.sleep(0.02)
        raise DemoFailed("the switch did not get its keys from network and core; see switch.log")

    def serve(self, name: str) -> None:
        """Start one server of the day and wait until it answers."""
        command = "serve" if name == "switch" else "centre"
        child = self.start(name, "switch.app.cli", command, str(self._ground.config(name)))
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if child.poll() is not None:
                raise DemoFailed(f"{name} ended at once: {self._last_line(name)}")
            with contextlib.suppress(OSError, ValueError):
                ask_control(self._ground.control(name), "status")
                return
            time.sleep(0.02)
        raise DemoFailed(f"{name} does not answer after {START_S:g} s; see {self._ground.directory / name}.log")

    def _last_line(self, name: str) -> str:
        lines = (self._ground.directory / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it left no message"

    def kill(self, name: str) -> None:
        """kill -9."""
        self._children[name].kill()
        self._children[name].wait()

    def stop(self) -> None:
        """SIGTERM to all, in the order in which money flows; SIGKILL for those that do not go."""
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self._children.values():
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def codes(self) -> dict[str, int | None]:
        return {name: child.poll() for name, child in self._children.items()}


def next_day(wall: float) -> tuple[str, str]:
    """Today's and tomorrow's settlement date, MMDD in Beijing time."""
    return wire_time(wall)[:4], wire_time(wall + 86_400)[:4]


@contextlib.contextmanager
def fresh_directory(path: Path) -> Iterator[Path]:
    """An empty directory for a day; one that holds anything but an earlier day is left alone."""
    if path.exists() and any(path.iterdir()):
        if not (path / "switch.toml").is_file():
            raise DemoFailed(f"{path} is not empty and holds no earlier demo: name another with --dir")
        shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)
    os.chmod(path, 0o700)
    yield path


def play(
    directory: Path,
    terminals: int,
    seconds: float,
    seed: int,
    kill_at: tuple[float, ...] = (),
    tell: Callable[[dict[str, Any]], None] = lambda status: None,
    atms: int = 0,
) -> DayResult:
    """Play one day and reconcile it. `kill_at`: when to kill -9 the switch and start it again (seconds); `atms`: how
    many machines there are beside the terminals."""
    today, tomorrow = next_day(time.time())
    with fresh_directory(directory):
        ground = lay(directory, seed, terminals, today, atms, validators=min(VALIDATORS_MAX, -(-terminals // 100)))
    processes = Processes(ground)
    started = time.monotonic()
    try:
        processes.open()
        return _play(ground, processes, seconds, tomorrow, kill_at, tell)
    except KeyboardInterrupt:
        raise DemoFailed(f"interrupted after {time.monotonic() - started:.0f} s") from None
    finally:
        processes.stop()


def _play(
    ground: Ground,
    processes: Processes,
    seconds: float,
    tomorrow: str,
    kill_at: tuple[float, ...],
    tell: Callable[[dict[str, Any]], None],
) -> DayResult:
    cutover_at, window_s = seconds * 0.55, max(0.5, seconds * 0.03)
    rate = ground.terminals * RATE_PER_TERMINAL
    plan = Plan(
        directory=str(ground.directory), port=ground.switch_port, seed=ground.seed,
        cards_per_issuer=CARDS_PER_ISSUER, seconds=seconds, rate=rate,
        settle_from=seconds * 0.38, settle_to=seconds * 0.52, machine_rate=ground.atms * RATE_PER_MACHINE,
        planted=planted_for(ground.atms), validators=ground.validators, rides=ground.validators * RIDES_PER_VALIDATOR,
        planted_chips=chips_planted_for(ground.terminals, rate * seconds),
    )  # fmt: skip
    plan_file = ground.directory / "plan.json"
    plan_file.write_bytes(msgspec.json.encode(plan))
    fleet = processes.start("fleet", "scenarios.day", str(plan_file), stdout=subprocess.PIPE)
    started = time.monotonic()
    events = _Events(ground, processes, tomorrow, window_s)
    events.plan(cutover_at, kill_at)
    assert fleet.stdout is not None
    for line in fleet.stdout:
        tell({**json.loads(line), **events.seen()})
    code = fleet.wait()
    events.over()
    elapsed = time.monotonic() - started
    if code not in (0, 1):
        raise DemoFailed(f"the fleet ended with code {code}; see {ground.directory / 'fleet.log'}")
    switch = _drained(ground)
    faults = _faults(ground)
    balance = all(ask_control(ground.control(name), "check") for name in ("centre", "core"))
    processes.stop()
    figures = json.loads((ground.directory / "fleet.json").read_text())
    books = reconcile_files(ground.journal, ground.ledgers, ground.terminal_book)
    return DayResult(
        ground,
        plan.planted_chips,
        figures,
        switch,
        faults | {"power_offs": figures["power_offs"]},
        books,
        elapsed,
        restarts=events.restarts,
        recovery_s=events.recovery_s,
        cutover_s=cutover_at,
        ledgers_balance=balance,
        at_rest=code == 0 and not switch["stored"],
        fees=settle_file(ground.journal, tariff_for(SHIPPED, ground.directory)),
        e_cash=join_files(ground.ledgers, ground.terminal_book),
    )


def _faults(ground: Ground) -> dict[str, int]:
    """How often each operator rule struck, network and core together."""
    struck: Counter[str] = Counter()
    for name in ("centre", "core"):
        status = ask_control(ground.control(name), "status")
        struck.update({key: count for key, count in status.items() if key.startswith("rule_")})
    return dict(struck)


def _drained(ground: Ground) -> dict[str, Any]:
    """Wait until the switch owes nobody anything; its status then."""
    end = time.monotonic() + DRAIN_S
    while True:
        status: dict[str, Any] = ask_control(ground.control("switch"), "status")
        if (not status["stored"] and not status["inflight"]) or time.monotonic() > end:
            return status
        time.sleep(0.1)


class _Events:
    """What happens to the day from outside: the cut-over, and the switch killed and started again."""

    def __init__(self, ground: Ground, processes: Processes, tomorrow: str, window_s: float) -> None:
        self._ground = ground
        self._processes = processes
        self._tomorrow = tomorrow
        self._window_s = window_s
        self._timers: list[threading.Timer] = []
        self._lock = threading.Lock()
        self.restarts = 0
        self.recovery_s: list[float] = []
        self.cut = ""

    def plan(self, cutover_at: float, kill_at: tuple[float, ...]) -> None:
        for at, act in [(cutover_at, self._cutover), *((at, self._kill) for at in kill_at)]:
            timer = threading.Timer(at, act)
            timer.daemon = True
            timer.start()
            self._timers.append(timer)

    def over(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for timer in self._timers:
            timer.join()

    def _cutover(self) -> None:
        self.cut = "cutting over 日切"
        for name in ("centre", "core"):
            ask_control(self._ground.control(name), "cutover", date=self._tomorrow, window_s=self._window_s)

    def _kill(self) -> None:
        with self._lock:
            self._processes.kill("switch")
            began = time.monotonic()
            self._processes.serve("switch")
            self.restarts += 1
            self.recovery_s.append(time.monotonic() - began)

    def seen(self) -> dict[str, Any]:
        """The switch's side of a line of progress."""
        status: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            status = ask_control(self._ground.control("switch"), "status", timeout_s=1.0)
        return {
            "reversals": status.get("reversals_queued", 0),
            "stored": status.get("stored", 0),
            "inflight": status.get("inflight", 0),
            "restarts": self.restarts,
            "dates": sorted({c["settlement_date"] for c in status.get("counterparts", {}).values()} - {""}),
        }
