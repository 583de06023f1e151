"""A card's memory in a file between two looks: its counter goes up, its purse goes down, as a card's in a pocket."""

import json
import struct
from pathlib import Path
from typing import Any, Final

from switch.wire.redact import mask_pan
from terminals.card.image import Image
from terminals.card.mint import CardFault
from terminals.card.state import CardState

_BYTES: Final = ("proof", "trades", "loads")
_NUMBERS: Final = tuple(name for name in CardState.__slots__ if name not in (*_BYTES, "extras"))


def read_state(path: Path, image: Image) -> CardState:
    """The memory of this card out of a file, a fresh one where there is no file. Raises CardFault."""
    state = image.fresh_state()
    if not path.exists():
        return state
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if told["card"] != _name(image):
            raise CardFault(f"{path.name}: is the memory of another card")
        for name in _NUMBERS:
            setattr(state, name, int(told[name]))
        for name in _BYTES:
            setattr(state, name, bytes.fromhex(told[name]))
        state.pack()
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        if isinstance(error, CardFault):
            raise
        raise CardFault(f"{path.name}: is no card's memory ({type(error).__name__})") from None
    return state


def write_state(path: Path, image: Image, state: CardState) -> None:
    """Keep the memory of this card; parameters and PINs that scripts have changed are not kept. Raises CardFault."""
    told: dict[str, Any] = {"card": _name(image)}
    told |= {name: getattr(state, name) for name in _NUMBERS}
    told |= {name: getattr(state, name).hex() for name in _BYTES}
    try:
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise CardFault(f"{path.name}: {error.strerror}") from None


def _name(image: Image) -> str:
    return f"{mask_pan(image.personal.pan)} {image.personal.psn} {image.profile.en}"
