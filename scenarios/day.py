"""The fleet's part of a demo day: thousands of terminals in one process, paying as people do, then settling.

Runs as a process of its own (`python -m scenarios.day PLAN`), tells its progress as one JSON object a line on standard
output, takes `cutover` times from its plan, and leaves the terminals' own book and its figures in the day's directory.
"""

import asyncio
import json
import random
import sys
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from switch.app.serve import run_loop
from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from switch.wire.profile import PosProfile, load_profile
from switch.wire.transactions import BY_NAME, FINANCIAL_MTIS
from terminals.device import pos
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import Item, Memory, Totals, export
from terminals.device.receipt import Lang, receipt, reprint, settlement_slip
from terminals.drive.aio import Session
from terminals.fleet import Terminal, memory_of, mint
from terminals.flow import Ask, Flow, PowerOff

MIX: Final = (
    ("sale", 48), ("balance", 10), ("preauth", 14), ("completion", 9), ("sale_void", 6), ("refund", 5),
    ("preauth_void", 3), ("completion_void", 3), ("echo", 2),
)  # fmt: skip
"""What people come for, in 100. A kind whose earlier transaction the terminal lacks becomes that transaction."""

SLIPS_MAX: Final = 60
CUT_HERE: Final = "\n- - - 8< - - -\n\n"

SYSTEM_FAULTS: Final = frozenset(("68", "91", "96", "98", ""))
"""Response codes that are the system's fault and not the holder's; "" is silence."""

_PREREQUISITE: Final = {
    "completion": "preauth", "preauth_void": "preauth", "sale_void": "sale", "refund": "sale",
    "completion_void": "completion",
}  # fmt: skip


class Plan(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a day is: who, how long, how much, and when the fleet settles (all in seconds from the start)."""

    directory: str
    port: int
    seed: int
    terminals: int
    cards_per_issuer: int
    seconds: float
    rate: float
    settle_from: float
    settle_to: float
    settle_share: float = 0.85
    power_off_share: float = 0.003
    wrong_pin_share: float = 0.01
    miscount_share: float = 0.01
    rest_s: float = 90.0


class Miscounting(Memory):
    """A terminal whose adding is off by one fen: its settlement does not balance, its batch upload shows why not."""

    __slots__ = ()

    def totals(self) -> Totals:
        ours = super().totals()
        return ours._replace(debit_minor=ours.debit_minor + 1)


class Site:
    """One terminal in the field: its memory, its way to the host, and whether somebody is using it."""

    __slots__ = ("busy", "memory", "session", "settled")

    def __init__(self, memory: Memory, session: Session) -> None:
        self.memory = memory
        self.session = session
        self.busy = False
        self.settled = False


class Figures:
    """What the day counts, at the terminals' side."""

    def __init__(self) -> None:
        self.started = 0.0
        self.by_transaction: Counter[str] = Counter()
        self.by_response: Counter[str] = Counter()
        self.dialogues: Counter[str] = Counter()
        self.approved = self.declined = self.unknown = self.system_faults = 0
        self.latency_ms = array("d")
        self.seconds: dict[int, list[int]] = {}
        self.per_second_ms: dict[int, array[float]] = {}
        self.power_offs = 0
        self.slips: list[str] = []

    @property
    def authorizations(self) -> int:
        return self.approved + self.declined + self.unknown

    def observe(self, body: bytes, took_s: float, reply: bytes | None) -> None:
        """Every request and how long its answer took."""
        if body[:2].hex() not in FINANCIAL_MTIS or reply is None:
            return
        took_ms = took_s * 1000
        self.latency_ms.append(took_ms)
        second = int(asyncio.get_running_loop().time() - self.started)
        self.per_second_ms.setdefault(second, array("d")).append(took_ms)

    def count(self, outcome: Outcome) -> None:
        """One dialogue has ended."""
        self.dialogues[f"{outcome.kind} {outcome.state}"] += 1
        if outcome.kind not in BY_NAME or outcome.state == "unsent":
            return
        self.by_transaction[outcome.kind] += 1
        self.by_response[outcome.response_code or "silence"] += 1
        self.system_faults += outcome.response_code in SYSTEM_FAULTS
        second = int(asyncio.get_running_loop().time() - self.started)
        bucket = self.seconds.setdefault(second, [0, 0])
        bucket[0] += 1
        if outcome.state == "approved":
            self.approved += 1
        elif outcome.state == "declined":
            self.declined += 1
            bucket[1] += 1
        else:
            self.unknown += 1
            bucket[1] += 1

    def percentiles(self) -> dict[str, float]:
        ordered = sorted(self.latency_ms)
        if not ordered:
            return {"p50": 0.0, "p99": 0.0, "p99_9": 0.0}
        return {
            name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))
        }


class Day:
    """One demo day of a fleet."""

    def __init__(self, plan: Plan, tell: Callable[[dict[str, Any]], None]) -> None:
        self.plan = plan
        self.figures = Figures()
        self._tell = tell
        self._random = random.Random(plan.seed)
        self._portfolio = Portfolio(plan.seed, STANDARD_ISSUERS, plan.cards_per_issuer)
        profile = load_profile(Path(plan.directory) / "profile-pos.toml")
        if not isinstance(profile, PosProfile):
            raise TypeError("a terminals' profile is needed")
        self._line = Line(profile)
        self.sites = [self._install(terminal) for terminal in mint(plan.seed, plan.terminals)]
        self._tasks: set[asyncio.Task[Outcome | None]] = set()
        self._kinds = [kind for kind, share in MIX for _ in range(share)]
        self.phase = "sign-in"

    def _install(self, terminal: Terminal) -> Site:
        memory = memory_of(terminal)
        if self._random.random() < self.plan.miscount_share:
            memory = Miscounting(memory.tid, memory.mid, memory.mcc, memory.merchant_name, memory.pinpad)
        return Site(memory, Session(self._line, "127.0.0.1", self.plan.port, observe=self.figures.observe))

    # the day

    async def run(self) -> int:
        """Sign in, trade, settle before and after the cut-over, come to rest, write the books."""
        loop = asyncio.get_running_loop()
        plan, self.figures.started = self.plan, loop.time()
        teller = loop.create_task(self._progress())
        await self._sign_in()
        self.phase = "trading"
        settler = loop.create_task(self._settle_some())
        await self._trade(self.figures.started + plan.seconds)
        await settler
        self.phase = "coming to rest"
        at_rest = await self._rest(loop.time() + plan.rest_s)
        teller.cancel()
        self.phase = "at rest" if at_rest else "not at rest"
        directory = Path(plan.directory)
        export((site.memory for site in self.sites), directory / "terminals.db")
        (directory / "fleet.json").write_text(json.dumps(self.result(), ensure_ascii=False))
        (directory / "slips.txt").write_text(CUT_HERE.join(self.figures.slips), encoding="utf-8")
        self._tell(self.status())
        for site in self.sites:
            site.session.close()
        return 0 if at_rest else 1

    async def _sign_in(self) -> None:
        await self._each(self.sites, pos.sign_in, at_once=64)

    async def _each(self, sites: list[Site], flow: Callable[[Memory, Line], Flow[Outcome]], at_once: int) -> None:
        """Run a dialogue on many terminals, some at a time."""
        gate = asyncio.Semaphore(at_once)

        async def one(site: Site) -> None:
            async with gate:
                await self._dialogue(site, flow(site.memory, self._line))

        await asyncio.gather(*(one(site) for site in sites))

    async def _trade(self, until: float) -> None:
        """Customers arrive on their own schedule, whether or not earlier ones have been served."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        while at < until:
            at += self._random.expovariate(self.plan.rate)
            late = at - loop.time()
            if late > 0.001:
                await asyncio.sleep(late)
            site = self._free_site()
            if site is not None:
                self._start(site, self._customer(site))
        while self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1.0)

    def _free_site(self) -> Site | None:
        for _ in range(8):
            site = self._random.choice(self.sites)
            if not site.busy:
                return site
        return None

    def _start(self, site: Site, flow: Flow[Outcome]) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._dialogue(site, flow))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._random.random() < self.plan.power_off_share:
            loop.call_later(self._random.random() * 0.01, site.session.power_off)

    async def _dialogue(self, site: Site, flow: Flow[Outcome]) -> Outcome | None:
        site.busy = True
        try:
            outcome = await site.session.run(flow, self._holder)
        except PowerOff:
            self.figures.power_offs += 1
            return None
        else:
            self.figures.count(outcome)
            self._print(site.memory, outcome)
            return outcome
        finally:
            site.busy = False

    def _print(self, memory: Memory, outcome: Outcome) -> None:
        """Keep the day's first slips, in both languages, a reprint now and then."""
        slips = self.figures.slips
        if len(slips) >= SLIPS_MAX:
            return
        lang: Lang = "en" if len(slips) % 4 == 3 else "zh"
        if outcome.kind == "settlement" and outcome.totals is not None:
            slips.append(settlement_slip(memory, outcome, lang))
        elif outcome.item is not None and outcome.approved:
            slips.append(receipt(memory, outcome.item, lang))
            if len(slips) % 10 == 9 and memory.last is not None:
                slips.append(reprint(memory, lang))

    def _holder(self, asked: Ask) -> str:
        """The cardholder at the PIN pad."""
        pin = str(asked.about.pin)
        if self._random.random() < self.plan.wrong_pin_share:
            return f"{(int(pin) + 1) % 1_000_000:06d}"
        return pin

    # customers

    def _customer(self, site: Site) -> Flow[Outcome]:
        kind = self._random.choice(self._kinds)
        memory, line, draw = site.memory, self._line, self._random
        if kind == "echo":
            return pos.echo(memory, line)
        original: Item | None = None
        while kind in _PREREQUISITE:
            candidates = memory.undoable(_PREREQUISITE[kind])[-20:]
            if candidates:
                original = draw.choice(candidates)
                break
            kind = _PREREQUISITE[kind]
        card = self._card() if original is None else self._portfolio.find(original.pan)
        amount = 0 if kind == "balance" else self._amount(kind, original)
        entry = pos.KEYED if draw.random() < 0.06 else pos.SWIPED
        return pos.transact(memory, line, kind, card, amount, original, entry=entry, pin=draw.random() < 0.85)

    def _card(self) -> Card:
        own = self._random.random() < 0.4
        issuer = 0 if own else 1 + self._random.randrange(len(STANDARD_ISSUERS) - 1)
        return self._portfolio.card(issuer, self._random.randrange(self.plan.cards_per_issuer))

    def _amount(self, kind: str, original: Item | None) -> int:
        if original is None:
            return max(100, min(500_000, int(self._random.lognormvariate(9.2, 0.9))))
        if kind == "refund":
            return max(1, original.amount_minor // self._random.choice((1, 2, 4)))
        if kind == "completion":
            return max(1, original.amount_minor * self._random.choice((80, 100, 100, 115)) // 100)
        return original.amount_minor

    # settlement and rest

    async def _settle_some(self) -> None:
        """Most terminals settle before the cut-over, while others go on trading; the rest settle late."""
        loop = asyncio.get_running_loop()
        plan = self.plan
        some = [site for site in self.sites if self._random.random() < plan.settle_share]
        begin, end = self.figures.started + plan.settle_from, self.figures.started + plan.settle_to
        for n, site in enumerate(some):
            at = begin + (end - begin) * n / max(1, len(some))
            if at > loop.time() + 0.001:
                await asyncio.sleep(at - loop.time())
            if not site.busy:
                site.settled = True
                self._start(site, pos.settle(site.memory, self._line))

    async def _rest(self, until: float) -> bool:
        """Put right what is owed, settle every open batch; True when nothing is left open."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            owing = [site for site in self.sites if _owes(site.memory)]
            if not owing:
                return True
            await self._each(owing, pos.settle, at_once=64)
            if any(_owes(site.memory) for site in owing):
                await asyncio.sleep(0.5)
        return False

    # telling

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._tell(self.status())

    def status(self) -> dict[str, Any]:
        """A line of progress."""
        figures = self.figures
        recent = figures.latency_ms[-2000:]
        ordered = sorted(recent)
        return {
            "phase": self.phase,
            "elapsed": round(asyncio.get_running_loop().time() - figures.started, 1),
            "authorizations": figures.authorizations,
            "approved": figures.approved,
            "declined": figures.declined,
            "unknown": figures.unknown,
            "p50": round(ordered[len(ordered) // 2], 2) if ordered else 0.0,
            "p99": round(ordered[len(ordered) * 99 // 100], 2) if ordered else 0.0,
            "owing": sum(site.memory.pending is not None for site in self.sites),
            "settled": sum(site.settled for site in self.sites),
        }

    def result(self) -> dict[str, Any]:
        """The fleet's figures of the whole day."""
        figures = self.figures
        total = max(1, figures.authorizations)
        seconds = sorted(figures.seconds)
        return {
            "authorizations": figures.authorizations,
            "approved": figures.approved,
            "declined": figures.declined,
            "unknown": figures.unknown,
            "by_transaction": dict(figures.by_transaction),
            "by_response": dict(figures.by_response),
            "dialogues": dict(figures.dialogues),
            "business_success_rate": round(figures.approved / total, 6),
            "system_success_rate": round(1 - figures.system_faults / total, 6),
            "latency_ms": figures.percentiles(),
            "power_offs": figures.power_offs,
            "stale_replies": sum(site.session.stale for site in self.sites),
            "connects": sum(site.session.connects for site in self.sites),
            "timeline": [
                {
                    "second": second,
                    "count": figures.seconds[second][0],
                    "not_approved": figures.seconds[second][1],
                    **_quantiles(figures.per_second_ms.get(second)),
                }
                for second in seconds
            ],
        }


def _owes(memory: Memory) -> bool:
    """Whether a terminal still has something open: a debt, a settlement begun, items in an open batch."""
    return memory.pending is not None or memory.settling is not None or bool(memory.items)


def _quantiles(values: "array[float] | None") -> dict[str, float]:
    if not values:
        return {"p50": 0.0, "p99": 0.0}
    ordered = sorted(values)
    return {"p50": round(ordered[len(ordered) // 2], 3), "p99": round(ordered[len(ordered) * 99 // 100], 3)}


def main() -> int:
    """Run the day of the plan named on the command line."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)

    def tell(status: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(status) + "\n")
        sys.stdout.flush()

    return run_loop(Day(plan, tell).run())


if __name__ == "__main__":
    sys.exit(main())
