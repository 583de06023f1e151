"""An invented fleet with planted defects: something to inspect, and the proof that what is there is found."""

import csv
import random
from pathlib import Path
from typing import Final

from switch.wire.roster import CONTACT, CONTACTLESS
from terminals.fleet import mint, mint_machines

SHARE_OF_MACHINES: Final = 0.05
_POS: Final = (
    ("slot=dead", CONTACT), ("tac_denial=FFFFFFFFFF", CONTACT), ("ca_keys=false", CONTACT), ("e_cash_minor=0", CONTACT),
    ("stripe=takes", CONTACT), ("field=dead", CONTACTLESS), ("tap_floor_minor=1", CONTACTLESS),
    ("small=off", CONTACTLESS), ("small_max_minor=5000000", CONTACTLESS), ("sm=false", "sm4"),
)  # fmt: skip
"""How a POS may be found, and what it must have for that to show."""
_MACHINES: Final = (("slot=dead", CONTACT), ("field=dead", CONTACTLESS))
_COLUMNS: Final = (
    "tid", "mid", "merchant_name", "mcc", "model", "capabilities", "district", "topology", "suite", "kind", "found",
)  # fmt: skip


def write_example(path: str | Path, terminals: int, defects: int, seed: int) -> dict[str, str]:
    """Write a fleet's file with so many terminals, one of 20 a machine, and so many defects, each at another terminal.

    Returns how the defective ones were found, by terminal. Raises ValueError where the fleet has no room for them.
    """
    machines = int(terminals * SHARE_OF_MACHINES)
    fleet = mint(seed, terminals - machines) + mint_machines(seed, machines)
    draw = random.Random(f"{seed}/inspection")
    found: dict[str, str] = {}
    free = list(fleet)
    draw.shuffle(free)
    for number in range(defects):
        place = next((n for n, one in enumerate(free) if _fits(one.model, one.capabilities, one.suite, number)), None)
        if place is None:
            raise ValueError(f"{terminals} terminals have no room for {defects} defects: {len(found)} fit")
        one = free.pop(place)
        found[one.tid] = _ways(one.model)[number % len(_ways(one.model))][0]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for one in fleet:
            reads = "+".join(one.capabilities)
            kind = one.model.lower() if one.model in ("ATM", "CRS") else "pos"
            writer.writerow(
                (one.tid, one.mid, one.merchant_name, one.mcc, one.model, reads, one.district, one.topology, one.suite,
                 kind, found.get(one.tid, ""))
            )  # fmt: skip
    return found


def _ways(model: str) -> tuple[tuple[str, str], ...]:
    return _MACHINES if model in ("ATM", "CRS") else _POS


def _fits(model: str, capabilities: tuple[str, ...], suite: str, number: int) -> bool:
    ways = _ways(model)
    needs = ways[number % len(ways)][1]
    # A card of SM is first shown to the slot; without chips there is nothing to be wrong with.
    return CONTACT in capabilities and (needs in capabilities or needs == suite)
