"""The batch upload of chips' transactions: what the card certified (0320/203, 205), what it declined (204, 206).

Source: UnionPay POS specification, DE62 usages 6 and 7. See docs/chip-flows.md, "Batch upload".
"""

from collections.abc import Iterable
from typing import Any, Final

from switch.wire.private_62 import ChipDetail, ChipNotice, write_chip_detail, write_chip_notice
from terminals.device.dialogue import CURRENCY
from terminals.device.memory import Item, Memory

DOMESTIC: Final = "00"
_DETAIL: Final = {True: "203", False: "205"}
_NOTICE: Final = {True: "204", False: "206"}
_REASONS: Final = {"Z1": "11", "Z3": "13"}
"""Declined by the card at once; declined because no host could be asked."""
_NOT_AUTHENTICATED: Final = "05"
_AAC, _ARPC = "1", "2"
_FAILED, _NONE = "2", "0"


def online_details(items: Iterable[Item]) -> list[Item]:
    """Of what counts in the batch, the items approved online with their chip."""
    return [item for item in items if item.chip is not None and item.chip.data and not item.row.advice]


def notices(items: Iterable[Item]) -> list[Item]:
    """What chips declined without a host."""
    return [item for item in items if item.state == "declined" and item.row.chip == "offline" and _declined(item)]


def _declined(item: Item) -> bool:
    return item.chip is not None and item.chip.arc in _REASONS


def fields(memory: Memory, item: Item, balanced: bool) -> dict[int, Any]:
    """The fields of an 0320 for one item, DE11 not among them.

    An approval whose issuer the card did not authenticate travels as a notice, and stands in the batch all the same.
    """
    chip = item.chip
    assert chip is not None
    amount = item.amount_minor
    if _declined(item):
        code = _NOTICE[balanced]
        told = write_chip_notice(ChipNotice(DOMESTIC, _REASONS[chip.arc], amount, CURRENCY, _AAC, _NONE))
    elif chip.arpc_failed:
        code = _NOTICE[balanced]
        told = write_chip_notice(ChipNotice(DOMESTIC, _NOT_AUTHENTICATED, amount, CURRENCY, _ARPC, _FAILED))
    else:
        code = _DETAIL[balanced]
        told = write_chip_detail(ChipDetail(DOMESTIC, "00", amount, CURRENCY))
    return {
        2: item.pan,
        4: f"{amount:012d}",
        22: item.entry_mode[:2] + "0",
        23: chip.psn,
        41: memory.tid,
        42: memory.mid,
        55: chip.data,
        60: "00" + item.batch + code + memory.reads + item.condition,
        62: told,
    }
