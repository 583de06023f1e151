"""The fleet that is inspected: terminals.csv with two more columns, how a terminal was found and what it is.

`kind` is pos, atm, crs or validator (闸机); without it the model and the capabilities say. `found` holds what differs
from what such a terminal should be, `KEY=VALUE` joined by `;`: any key of a terminal's setting (docs/cards.md), and
`slot=dead`, `field=dead`, `stripe=takes` (the stripe of a chip card is taken), `small=off`, `small_max_minor=N`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from switch.wire.roster import CONTACT, CONTACTLESS, TERMINAL_COLUMNS, one_of
from switch.wire.table import Column, read_table
from terminals.look.setting import Setting, SettingFault, read_setting

POS, ATM, CRS, VALIDATOR = "pos", "atm", "crs", "validator"
KINDS: Final = (POS, ATM, CRS, VALIDATOR)
_PRESETS: Final = {POS: "shop", ATM: "atm", CRS: "atm", VALIDATOR: "bus"}
_KEPT: Final = ("tid", "model", "district", "topology", "suite", "capabilities")
_DEVICE: Final[Mapping[str, tuple[str, ...]]] = {
    "slot": ("works", "dead"), "field": ("works", "dead"), "stripe": ("asks", "takes"), "small": ("on", "off"),
}  # fmt: skip
SMALL_MAX_MINOR: Final = 100_000
"""What a small contactless sale without PIN (双免) may be since 2018-06-01, in minor units."""


class Stand(NamedTuple):
    """A terminal as the inspector meets it: all that decides how it treats a card. Terminals alike share one.

    `reads` is what it is said to read; `slot` and `field` whether these work.
    """

    kind: str
    reads: tuple[str, ...]
    setting: Setting
    slot: bool = True
    field: bool = True
    asks_for_chip: bool = True
    small: bool = True
    small_max_minor: int = SMALL_MAX_MINOR


@dataclass(frozen=True, slots=True)
class Inspected:
    """A row of the fleet's file."""

    tid: str
    model: str
    district: str
    topology: str
    suite: str
    capabilities: tuple[str, ...]
    stand: Stand
    line: int


def read_fleet(path: str | Path) -> list[Inspected]:
    """The terminals of a file. Raises TableError."""
    columns = (*TERMINAL_COLUMNS, Column("kind", one_of({kind: kind for kind in KINDS})), Column("found", _pairs, {}))
    stands: dict[tuple[Any, ...], Stand] = {}

    def make(*, line: int, kind: str, found: dict[str, str], **values: Any) -> Inspected:
        kept = {name: values[name] for name in _KEPT}
        kind = kind or _kind_of(kept["model"], kept["capabilities"])
        like = (kind, kept["capabilities"], kept["suite"], tuple(sorted(found.items())))
        if like not in stands:
            stands[like] = _stand(kind, kept["capabilities"], kept["suite"], found)
        return Inspected(**kept, stand=stands[like], line=line)

    return read_table(path, columns, make)


def _kind_of(model: str, capabilities: tuple[str, ...]) -> str:
    if model.lower() in (ATM, CRS):
        return model.lower()
    return VALIDATOR if capabilities == (CONTACTLESS,) else POS


def _pairs(cell: str) -> dict[str, str]:
    pairs = dict[str, str]()
    for part in cell.split(";"):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise ValueError("is KEY=VALUE, several of them joined by ;")
        pairs[key] = value
    return pairs


def _stand(kind: str, reads: tuple[str, ...], suite: str, found: dict[str, str]) -> Stand:
    """What a kind of terminal should be, with what was found otherwise put over it."""
    device = {key: value for key, value in found.items() if key in _DEVICE or key == "small_max_minor"}
    for key, value in device.items():
        if key in _DEVICE and value not in _DEVICE[key]:
            raise ValueError(f"found: {key} is {' or '.join(_DEVICE[key])}")
    most = device.get("small_max_minor", str(SMALL_MAX_MINOR))
    if not (most.isascii() and most.isdigit()):
        raise ValueError("found: small_max_minor is an amount in minor units")
    # Who cannot check an SM card's signature must not let it pay in the field: such terminals all speak SM.
    sm = suite == "sm4" or CONTACTLESS in reads
    over = [f"sm={str(sm).lower()}"] + [f"{key}={value}" for key, value in found.items() if key not in device]
    try:
        setting = read_setting(_PRESETS[kind], over)
    except SettingFault as fault:
        raise ValueError(f"found: {fault}") from None
    return Stand(
        kind,
        reads,
        setting,
        slot=CONTACT in reads and device.get("slot") != "dead",
        field=CONTACTLESS in reads and device.get("field") != "dead",
        asks_for_chip=device.get("stripe") != "takes",
        small=device.get("small") != "off",
        small_max_minor=int(most),
    )
