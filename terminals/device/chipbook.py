"""The terminals' book of electronic cash: certificates by their state, and what the cards themselves hold.

A card stands there under its reference (`Portfolio.reference`), never its number.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from switch.clearing.schema import CARDS, OFFLINE
from switch.wire.redact import mask_pan
from terminals.device.memory import Item, Memory, write_tables


class Holding(NamedTuple):
    """What one card holds of electronic cash at the end, and what it was issued with. Minor units."""

    pan: str
    balance_minor: int
    issued_minor: int

    def __repr__(self) -> str:
        return f"Holding({mask_pan(self.pan)}, {self.balance_minor})"


def offline_rows(memories: Iterable[Memory], reference: Callable[[str], str]) -> Iterable[tuple[Any, ...]]:
    """The rows of OFFLINE, numbered from 1: every certificate (TC), declines not among them."""
    number = 0
    for memory in memories:
        refused = {id(item) for item in memory.refused}
        for item in (*memory.closed, *memory.items):
            chip = item.chip
            if item.row.chip != "offline" or chip is None or chip.arc not in ("Y1", "Y3"):
                continue
            number += 1
            state = "held" if item.state == "offline" else "refused" if id(item) in refused else "delivered"
            yield (
                number, memory.mid, memory.tid, item.batch, item.stan, reference(item.pan), chip.atc,
                item.amount_minor, state, item.date + item.time,
            )  # fmt: skip


def cards_rows(cards: Iterable[Holding], reference: Callable[[str], str]) -> Iterable[tuple[Any, ...]]:
    """The rows of CARDS, numbered from 1."""
    for number, card in enumerate(cards, 1):
        yield number, reference(card.pan), mask_pan(card.pan), card.balance_minor, card.issued_minor


def export_chips(
    memories: Iterable[Memory], cards: Iterable[Holding], reference: Callable[[str], str], path: str | Path
) -> int:
    """Write OFFLINE and CARDS beside what `memory.export` wrote; the number of rows. Raises apsw.Error."""
    tables = ((OFFLINE, offline_rows(memories, reference)), (CARDS, cards_rows(cards, reference)))
    return write_tables(path, tables)


def held(memory: Memory) -> list[Item]:
    """Certificates that the host does not have yet."""
    return [item for item in memory.offline if item.state == "offline"]
