"""Transactions of closed batches that nothing has touched since: where their rows stand, sixteen bytes each.

Whoever speaks of one of them (a refund, a void, a late reversal) has its row read back out of the durable book, and it
is in memory again. All of it is rebuilt from the journal's rows after a restart.
"""

from array import array
from collections.abc import Callable
from itertools import takewhile
from typing import Any, Final, TypeAlias

from switch.clearing.schema import JOURNAL

Recall: TypeAlias = Callable[[int], tuple[Any, ...] | None]
"""A row of the journal by its number, durable or about to be; None where there is none. A machine reads no file itself:
whoever puts it together says how."""

BLOCK_BITS: Final = 16
STAN_BITS: Final = 20
"""A STAN has six digits."""

Row: TypeAlias = dict[str, Any]


class Archive:
    """Row numbers by the count of an RRN, in blocks of 65,536, and by batch, each with its STAN.

    What a batch no longer lists is not found by its RRN either.
    """

    def __init__(self, recall: Recall) -> None:
        self._recall = recall
        self._batches: dict[tuple[str, str], array[int]] = {}
        self._closed_at: dict[tuple[str, str], int] = {}
        self._blocks: dict[int, array[int]] = {}
        self._newest: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(len(numbers) for numbers in self._batches.values())

    def note(self, key: tuple[str, str, str], rrn: str, number: int, at_ms: int) -> None:
        """The last row of this exchange is `number`; its batch was closed `at_ms`."""
        *where, stan = key
        batch = (where[0], where[1])
        numbers = self._batches.get(batch)
        if numbers is None:
            numbers = self._batches[batch] = array("Q")
            self._closed_at[batch] = at_ms
        numbers.append(number << STAN_BITS | int(stan))
        block, place = _place(rrn)
        if block not in self._blocks:
            self._blocks[block] = array("Q", bytes(8 << BLOCK_BITS))
        self._blocks[block][place] = number
        self._newest[block] = at_ms

    def take(self, key: tuple[str, str, str]) -> tuple[Row, int] | None:
        """The last row of the exchange under this terminal's key, and when its batch was closed; it is archived no
        longer."""
        tid, batch, stan = key
        numbers = self._batches.get((tid, batch))
        if numbers is None or not (len(stan) == 6 and stan.isascii() and stan.isdigit()):
            return None
        for at, number in enumerate(numbers):
            if number & ((1 << STAN_BITS) - 1) == int(stan):
                row = self._row(number >> STAN_BITS)
                del numbers[at]
                return None if row is None else (row, self._closed_at[tid, batch])
        return None

    def key_of(self, rrn: str) -> tuple[str, str, str] | None:
        """The terminal's key of an RRN."""
        if not (len(rrn) == 12 and rrn.isascii() and rrn.isdigit()):
            return None
        block, place = _place(rrn)
        number = self._blocks[block][place] if block in self._blocks else 0
        row = self._row(number) if number else None
        return (row["tid"], row["batch"], row["stan"]) if row is not None and row["rrn"] == rrn else None

    def _row(self, number: int) -> Row | None:
        row = self._recall(number)
        return None if row is None else dict(zip(JOURNAL.names, row, strict=True))

    def forget(self, before_ms: int) -> None:
        """Nobody may speak any more of what was closed before."""
        for batch in list(takewhile(lambda batch: self._closed_at[batch] < before_ms, self._closed_at)):
            del self._closed_at[batch], self._batches[batch]
        for block in [block for block, newest in self._newest.items() if newest < before_ms]:
            del self._blocks[block], self._newest[block]


def _place(rrn: str) -> tuple[int, int]:
    """Block and place in it of an RRN's count (its last nine digits)."""
    count = int(rrn[3:])
    return count >> BLOCK_BITS, count & ((1 << BLOCK_BITS) - 1)
