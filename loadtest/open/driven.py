"""The engine with somebody else at the throttle: rates come in, counts go out, one JSON object a line.

    python -m loadtest.open.driven GROUND RATE_MAX [SHARE SHARES]

Input: `{"rate": 100.0}` sets the arrivals a second, `{"stop": true}` (or end of input) ends. Output, by half seconds:
`{"samples": [[kind, why, milliseconds, count], ...]}` since the last line, `why` "" for what did not fail; first
`{"ready": n}` with the number of terminals, or `{"failed": reason}`. Latencies are from the intended instant.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter as Counts
from pathlib import Path
from typing import Any, Final

import uvloop

from loadtest.open.arrivals import Curve, Gauge
from loadtest.open.engine import Engine
from loadtest.open.full import Counter
from loadtest.open.limits import Impossible
from loadtest.open.mix import read_mix
from loadtest.open.record import Record
from loadtest.open.run import Order, Ready
from loadtest.open.tills import NobodySignedIn
from switch.wire.profile import PosProfile, load_profile
from terminals.own import own_terminals, read_transport_keys

TELL_S: Final = 0.5


class Samples(Record):
    """A record that also keeps what has not been told yet."""

    def __init__(self, start: float) -> None:
        super().__init__(None, start, 0)
        self.untold: Counts[tuple[str, str, float]] = Counts()

    def answered(
        self, kind: str, intended: float, sent: float, done: float, code: str, approved: bool, failed: str
    ) -> None:
        """One transaction has ended."""
        super().answered(kind, intended, sent, done, code, approved, failed)
        self.untold[kind, failed, round((done - intended) * 1000, 2)] += 1

    def skipped(self) -> None:
        """A customer nobody could serve."""
        super().skipped()
        self.untold["skipped", "no terminal was free", 0.0] += 1


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def order_of(ground: Path, rate_max: float, share: tuple[int, int] = (0, 1)) -> Order:
    """The order for a ground's terminals that read taps, or a share of them. Raises OSError, ValueError."""
    told = json.loads((ground / "load.json").read_text(encoding="utf-8"))
    profile = load_profile(ground / "profile-pos.toml")
    if not isinstance(profile, PosProfile):
        raise ValueError("profile-pos.toml is not a terminals' profile")
    keys = read_transport_keys(ground / "transport-keys.csv")
    terminals = [
        one
        for one in own_terminals(ground / "terminals.csv", keys, profile.suites)
        if "contactless" in one.capabilities and one.model not in ("ATM", "CRS", "BO")
    ]
    number, shares = share
    return Order(
        host="127.0.0.1", port=told["port"], profile=profile, terminals=terminals[number::shares],
        mix=read_mix("sale=1"),
        curve=Curve(((0.0, rate_max), (1.0, rate_max))), seed=told["seed"], cards_per_issuer=told["cards_per_issuer"],
        share=share, draw=1 + number,
    )  # fmt: skip


async def drive(ground: Path, rate_max: float, share: tuple[int, int]) -> None:
    """Run until input ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    try:
        order = order_of(ground, rate_max, share)
        ready = Ready(order)
        await ready.enter(order)
    except (OSError, ValueError, Impossible, NobodySignedIn) as error:
        _say({"failed": str(error)})
        return
    start = time.perf_counter()
    record = Samples(start)
    engine = Engine(record, order.cap)
    work = Counter(ready.tills, ready.line, ready.people, order.entry, order.mix, record, random.Random(1))
    work.engine = engine
    gauge = Gauge(time.perf_counter, ready.draw)
    _say({"ready": len(ready.tills)})
    teller = loop.create_task(_tell(record))
    listener = loop.create_task(_listen(lines, gauge, engine))
    await engine.run(work, gauge.instants(), 0.0, order.profile.timers.reply_s)
    teller.cancel()
    listener.cancel()
    _flush(record)
    work.close()


async def _listen(lines: asyncio.StreamReader, gauge: Gauge, engine: Engine) -> None:
    while line := await lines.readline():
        asked = json.loads(line)
        if asked.get("stop"):
            break
        gauge.rate = float(asked["rate"])
    gauge.stopped = True
    engine.stop()


async def _tell(record: Samples) -> None:
    while True:
        await asyncio.sleep(TELL_S)
        _flush(record)


def _flush(record: Samples) -> None:
    samples = [[*key, count] for key, count in record.untold.items()]
    record.untold.clear()
    _say({"samples": samples, "in_flight": record.in_flight})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        number, shares = map(int, sys.argv[3:5] or (0, 1))
        runner.run(drive(Path(sys.argv[1]), float(sys.argv[2]), (number, shares)))
