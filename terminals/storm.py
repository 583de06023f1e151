"""The sign-in storm: every terminal of a province signs in, as after a night without power.

Each has its own keys, each sign-in is the same dialogue as ever: 0800, the working keys opened under the terminal's
master key, every check value compared. What fails is tried again, after all others.
"""

from array import array
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from terminals.device import pos
from terminals.device.dialogue import Outcome
from terminals.drive.crowd import Dialogue
from terminals.province import Province
from terminals.rows import Rows

TRIES: Final = 3
LOST_AFTER: Final = 2_000
"""So many failures in a row, and the host is not there any more."""

Turn: TypeAlias = tuple[Rows, int, int]
"""A terminal by its rows and its number, and how often it has tried, this time included."""


class Storm:
    """Sign-ins of all shop terminals of a province, then of its machines.

    `signed_in`, `failed` (after all tries) and `tried` count; `reasons` says how sign-ins failed.
    """

    def __init__(self, province: Province) -> None:
        self.province = province
        wanted = (province.shops, province.machines)
        self.terminals = sum(map(len, wanted))
        self.signed_in = self.failed = self.tried = 0
        self.reasons: Counter[str] = Counter()
        self.took_s = array("f")
        self._first: Iterator[Turn] = ((rows, number, 1) for rows in wanted for number in range(len(rows)))
        self._again: deque[Turn] = deque()
        self._row = 0

    @property
    def lost(self) -> bool:
        """Whether the host does not answer any more."""
        return self._row >= min(LOST_AFTER, max(64, self.terminals // 2))

    def next(self) -> Dialogue | None:
        """The next sign-in, those to be tried again last; None for none at the moment."""
        turn = next(self._first, None) or (self._again.popleft() if self._again else None)
        if turn is None:
            return None
        rows, number, _ = turn
        return turn, pos.sign_in(rows.take(number), self.province.line)

    def ended(self, key: Any, outcome: Outcome, seconds: float) -> None:
        """One dialogue has ended: the terminal goes back into its row."""
        rows, number, turn = key
        rows.put(number)
        self.tried += 1
        if outcome.approved:
            self.signed_in += 1
            self.took_s.append(seconds)
            self._row = 0
            return
        self._row += 1
        self.reasons[f"{outcome.reason or 'refused'} {outcome.response_code}".rstrip()] += 1
        if turn < TRIES:
            self._again.append((rows, number, turn + 1))
        else:
            self.failed += 1

    def latency_ms(self) -> dict[str, float]:
        """How long sign-ins took, connection included."""
        ordered = sorted(self.took_s)
        last = len(ordered) - 1
        shares = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        found = {name: round(ordered[int(last * share)] * 1000, 2) if ordered else 0.0 for name, share in shares}
        return {"mean": round(sum(ordered) / max(1, len(ordered)) * 1000, 2), **found}
