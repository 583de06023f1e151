"""The books of machines as rows and as a file: notes, error records, retained cards, beside the terminals' own."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from switch.clearing.schema import CASH, ERRORS, RETAINED
from terminals.device.atm import AtmMemory
from terminals.device.memory import write_tables


def cash_rows(machines: Iterable[AtmMemory]) -> Iterable[tuple[Any, ...]]:
    """The rows of the CASH table, numbered from 1."""
    number = 0
    for memory in machines:
        for line in memory.vault.book:
            number += 1
            yield number, memory.mid, memory.tid, line.event, line.denomination_minor, line.notes, *line.key, line.at


def error_rows(machines: Iterable[AtmMemory]) -> Iterable[tuple[Any, ...]]:
    """The rows of the ERRORS table, numbered from 1."""
    number = 0
    for memory in machines:
        for record in memory.errors:
            number += 1
            yield (
                number, memory.mid, memory.tid, *record.key, record.pan_masked, record.approved_minor,
                record.dispensed_minor, record.difference_minor, record.cause, record.state,
            )  # fmt: skip


def retained_rows(machines: Iterable[AtmMemory]) -> Iterable[tuple[Any, ...]]:
    """The rows of the RETAINED table, numbered from 1."""
    number = 0
    for memory in machines:
        for card in memory.retained:
            number += 1
            yield number, memory.mid, memory.tid, card.pan_masked, card.cause, card.response_code, card.at


def export_cash(machines: Sequence[AtmMemory], path: str | Path) -> None:
    """Write the machines' books into a SQLite file, the terminals' own or a fresh one. Raises apsw.Error."""
    for memory in machines:
        memory.wake()
    tables = ((CASH, cash_rows(machines)), (ERRORS, error_rows(machines)), (RETAINED, retained_rows(machines)))
    write_tables(path, tables)
