"""What terminals got, one line a dialogue in a file that survives them; availability and recovery by it.

    START END KIND STATE CODE OWN      monotonic seconds of the machine; OWN 1 for cards of the own bank

A dialogue is answered in time where a response came that is not the system's own failure (no 91, 96, 98).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from switch.wire.codes import RESPONSE_CODES
from switch.wire.transactions import BY_NAME


class Answer(NamedTuple):
    """One dialogue. `code` is "" for silence, `own` None where no card was in it."""

    start: float
    end: float
    kind: str
    state: str
    code: str
    own: bool | None

    @property
    def good(self) -> bool:
        """Whether it was answered, and not by a failure of the system."""
        if self.state not in ("approved", "declined") or not self.code:
            return False
        return self.code not in RESPONSE_CODES or RESPONSE_CODES[self.code].fault != "system"

    def came_from(self, own: bool) -> bool:
        """Whether it can only have come from the own core, or only from the network: the switch itself approves nothing
        but advices, which it stores, and declines much."""
        row = BY_NAME.get(self.kind)
        return self.own is own and self.state == "approved" and row is not None and not row.advice

    def line(self) -> str:
        """As it stands in the file."""
        own = "-" if self.own is None else str(int(self.own))
        return f"{self.start:.6f} {self.end:.6f} {self.kind} {self.state} {self.code or '-'} {own}\n"


def parse(line: str) -> Answer | None:
    """A line of the file; None for one that a kill has cut short."""
    parts = line.split()
    if len(parts) != 6 or not line.endswith("\n"):
        return None
    try:
        start, end = float(parts[0]), float(parts[1])
    except ValueError:
        return None
    code = "" if parts[4] == "-" else parts[4]
    return Answer(start, end, parts[2], parts[3], code, None if parts[5] == "-" else parts[5] == "1")


class Answers:
    """The file, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.seen: list[Answer] = []

    def more(self) -> list[Answer]:
        """What came since the last look."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._at += whole
        fresh = [one for text in data[:whole].decode("ascii", "replace").splitlines(True) if (one := parse(text))]
        self.seen += fresh
        return fresh


class Window(NamedTuple):
    """Something was broken on purpose from `begin`; `restart` is when it was put right, `recovered` when answers came
    again, None where they never did."""

    what: str
    begin: float
    restart: float
    recovered: float | None
    first: float | None

    @property
    def recovery_s(self) -> float | None:
        """From putting it right to the first answer."""
        return None if self.first is None else self.first - self.restart


def availability(answers: Iterable[Answer], windows: Sequence[Window]) -> dict[str, Any]:
    """The share of financial dialogues answered in time: all of them, and those that touch no window."""
    spans = sorted((one.begin, one.recovered if one.recovered is not None else one.begin + 1e9) for one in windows)
    asked = good = asked_outside = good_outside = 0
    failed: dict[str, int] = {}
    for answer in answers:
        if answer.kind not in BY_NAME:
            continue
        fine = answer.good
        asked += 1
        good += fine
        if not any(begin <= answer.end and answer.start <= end for begin, end in spans):
            asked_outside += 1
            good_outside += fine
            if not fine:
                name = f"{answer.state} {answer.code or 'silence'}"
                failed[name] = failed.get(name, 0) + 1
    return {
        "asked": asked,
        "availability": round(good / asked, 6) if asked else 0.0,
        "asked_outside_windows": asked_outside,
        "availability_outside_windows": round(good_outside / asked_outside, 6) if asked_outside else 0.0,
        "failed_outside_windows": failed,
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share lies; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def recovery(windows: Sequence[Window]) -> dict[str, Any]:
    """Downtime and time to recover over all windows."""
    times = [one.recovery_s for one in windows if one.recovery_s is not None]
    return {
        "downtime_s": round(sum(one.recovered - one.begin for one in windows if one.recovered is not None), 3),
        "recovery_s": {"p50": round(quantile(times, 0.5), 3), "p99": round(quantile(times, 0.99), 3)},
        "unrecovered": sum(one.recovered is None for one in windows),
    }
