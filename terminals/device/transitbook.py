"""What validators and back offices add to the terminals' book of electronic cash: certificates still on their way.

Those that an office's terminal has sent, or is about to, stand in its own book (chipbook.py); here are the others, each
once, wherever it is. A card stands there under its reference (`Portfolio.reference`), never its number.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apsw

from switch.clearing.schema import OFFLINE
from terminals.device.backoffice import BackOffice
from terminals.device.taps import Tap, TapFile
from terminals.device.validator import ValidatorMemory

_HELD = "held"


def held_rows(
    validators: Iterable[ValidatorMemory],
    offices: Iterable[BackOffice],
    reference: Callable[[str], str],
    number: int = 1,
) -> Iterable[tuple[Any, ...]]:
    """Rows of OFFLINE, from `number` on: TID is the validator's, batch its file, STAN the tap."""
    known: set[str] = set()
    for office in offices:
        known.update(ride.tap.key for ride in office.rides.values())
        mid = office.terminals[0].mid if office.terminals else ""
        for ride in office.kept:
            yield number, mid, ride.validator, *_told(ride.file, ride.tap, reference), _HELD, ride.tap.at
            number += 1
    for memory in validators:
        for file in (*memory.files, TapFile(memory.tid, memory.next_file, tuple(memory.taps))):
            for tap in file.taps:
                if tap.state == "paid" and tap.key not in known:
                    yield number, memory.mid, memory.tid, *_told(file.number, tap, reference), _HELD, tap.at
                    number += 1


def _told(file: int, tap: Tap, reference: Callable[[str], str]) -> tuple[Any, ...]:
    return f"{file:06d}", f"{tap.number:06d}", reference(tap.pan), tap.atc, tap.amount_minor


def export_held(
    validators: Iterable[ValidatorMemory],
    offices: Iterable[BackOffice],
    reference: Callable[[str], str],
    path: str | Path,
) -> int:
    """Add them to OFFLINE in a file that `chipbook.export_chips` wrote (or a fresh one); the number of rows.

    Raises apsw.Error.
    """
    connection = apsw.Connection(str(path))
    try:
        with connection:
            connection.execute(OFFLINE.create())
            [(last,)] = connection.execute(f"SELECT coalesce(max(number), 0) FROM {OFFLINE.name}")
            rows = list(held_rows(validators, offices, reference, int(last) + 1))
            connection.executemany(OFFLINE.insert(), rows)
        return len(rows)
    finally:
        connection.close()
