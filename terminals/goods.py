"""What some kinds of transactions want besides card and amount: periods, goods, a receiving card, a telephone code.

The codes of goods are invented: a merchant has its own list.
"""

from typing import Any, Final

from switch.wire.private_62 import Instalment, Points, write_instalment, write_points, write_transfer_pan
from switch.wire.transactions import Transaction

GOODS: Final = "G0000000001"
PERIODS: Final = 12
FEE_MODE: Final = "1"
VOICE_CODE: Final = "810042"


def extras(row: Transaction, receiver: str, voice: str = VOICE_CODE, periods: int = PERIODS) -> dict[str, Any]:
    """Keywords for `pos.transact`; `receiver` is the card number that a load or transfer pays to."""
    wanted: dict[str, Any] = {}
    match row.detail:
        case "instalment":
            wanted["detail"] = write_instalment(Instalment(periods, GOODS, FEE_MODE))
        case "points":
            wanted["detail"] = write_points(Points(GOODS))
        case "transfer":
            wanted["detail"] = write_transfer_pan(receiver)
    if row.voice:
        wanted["voice"] = voice
    return wanted
