"""What a fleet counts at the terminals' side: dialogues, answers, latency, second by second."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from switch.wire.codes import RESPONSE_CODES
from switch.wire.transactions import BY_NAME, FINANCIAL_MTIS
from terminals.device.dialogue import Outcome
from terminals.device.memory import Memory

_RECENT: Final = 2000

ENTRIES: Final = {"01": "keyed", "02": "stripe", "05": "contact", "07": "contactless", "80": "fallback", "90": "stripe"}
"""How a card was read, by the first digits of DE22."""


def _systems_fault(code: str) -> bool:
    """Whether an answer is the system's fault and not the holder's; "" is silence."""
    return not code or (code in RESPONSE_CODES and RESPONSE_CODES[code].fault == "system")


class Figures:
    """Counts from `started` on; `clock` gives seconds, as `started` does."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.started = 0.0
        self.by_transaction: Counter[str] = Counter()
        self.by_response: Counter[str] = Counter()
        self.dialogues: Counter[str] = Counter()
        self.settlements: Counter[str] = Counter()
        self.unsent: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.approved = self.declined = self.unknown = self.system_faults = 0
        self.latency_ms = array("d")
        self.seconds: dict[int, list[int]] = {}
        self.per_second_ms: dict[int, array[float]] = {}
        self.power_offs = 0

    @property
    def authorizations(self) -> int:
        return self.approved + self.declined + self.unknown

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self.started

    def observe(self, body: bytes, took_s: float, reply: bytes | None) -> None:
        """Every request and how long its answer took."""
        if body[:2].hex() not in FINANCIAL_MTIS or reply is None:
            return
        took_ms = took_s * 1000
        self.latency_ms.append(took_ms)
        second = int(self._clock() - self.started)
        self.per_second_ms.setdefault(second, array("d")).append(took_ms)

    def count(self, outcome: Outcome) -> None:
        """One dialogue has ended."""
        self.dialogues[f"{outcome.kind} {outcome.state}"] += 1
        if outcome.kind == "settlement" and outcome.approved:
            self.settlements[outcome.reason] += 1
        if outcome.state == "unsent":
            self.unsent[f"{outcome.reason} {outcome.response_code}".rstrip()] += 1
            return
        if outcome.kind not in BY_NAME:
            return
        self.by_transaction[outcome.kind] += 1
        self.by_response[outcome.response_code or "silence"] += 1
        self.system_faults += _systems_fault(outcome.response_code)
        bucket = self.seconds.setdefault(int(self._clock() - self.started), [0, 0])
        bucket[0] += 1
        if outcome.state == "approved":
            self.approved += 1
        elif outcome.state == "declined":
            self.declined += 1
            bucket[1] += 1
        else:
            self.unknown += 1
            bucket[1] += 1

    def recent_ms(self) -> tuple[float, float]:
        """The median and the 99th percentile of the last answers."""
        return _quantile(ordered := sorted(self.latency_ms[-_RECENT:]), 0.5), _quantile(ordered, 0.99)

    def as_dict(self) -> dict[str, Any]:
        """All of them, for JSON."""
        total = max(1, self.authorizations)
        ordered = sorted(self.latency_ms)
        return {
            "authorizations": self.authorizations,
            "approved": self.approved,
            "declined": self.declined,
            "unknown": self.unknown,
            "by_transaction": dict(self.by_transaction),
            "by_response": dict(self.by_response),
            "dialogues": dict(self.dialogues),
            "settlements": dict(self.settlements),
            "unsent": dict(self.unsent),
            "business_success_rate": round(self.approved / total, 6),
            "system_success_rate": round(1 - self.system_faults / total, 6),
            "latency_ms": {
                name: round(_quantile(ordered, share), 3)
                for name, share in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999))
            },
            "power_offs": self.power_offs,
            "timeline": [self._second(second) for second in sorted(self.seconds)],
        }

    def _second(self, second: int) -> dict[str, Any]:
        count, not_approved = self.seconds[second]
        ordered = sorted(self.per_second_ms.get(second, ()))
        return {
            "second": second,
            "count": count,
            "not_approved": not_approved,
            "p50": round(_quantile(ordered, 0.5), 3),
            "p99": round(_quantile(ordered, 0.99), 3),
        }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def chip_counts(memories: Iterable[Memory], find: Callable[[str], Any]) -> dict[str, Any]:
    """How cards were read and what chips did, out of the terminals' own books; `find` gives the card of a number."""
    entries: Counter[str] = Counter()
    profiles: Counter[str] = Counter()
    offline: Counter[str] = Counter()
    loads: Counter[str] = Counter()
    no_pin = doubts = 0
    for memory in memories:
        doubts += len(memory.doubts)
        for item in (*memory.closed, *memory.items):
            entries[ENTRIES.get(item.entry_mode[:2], "other")] += 1
            chip = item.chip
            if chip is None:
                continue
            profiles[getattr(find(chip.pan), "chip", "") or "other"] += 1
            no_pin += chip.no_pin
            if item.row.chip == "offline":
                word = {"offline": "held", "approved": "delivered"}.get(item.state, "refused")
                offline[word if chip.certificate == "TC" else "declined by the chip"] += 1
            elif item.row.chip in ("load", "takeup"):
                loads[f"{item.kind} {item.state}"] += 1
    return {
        "entries": dict(entries), "profiles": dict(profiles), "offline": dict(offline), "loads": dict(loads),
        "no_pin": no_pin, "loads_in_doubt": doubts,
    }  # fmt: skip
