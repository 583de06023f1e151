"""Cards torn from the field while they paid (闪卡), over a loss of power: written down before, asked when they return.

A card in the field pays when its last record is read. Its certificate is written down before that; a card that comes
back is asked whether it paid (GET TRANS PROVE), and if so nothing is debited again. See docs/kernel.md, Contactless.
"""

from typing import Final

from switch.wire import apdu
from switch.wire.errors import WireError
from terminals.device.memory import Item, Memory
from terminals.device.reader import CONTACTLESS, Reader
from terminals.flow import Cancelled, CardRemoved, Flow
from terminals.kernel import icc, select
from terminals.kernel.session import Ended, Presented, Request, Session, exchange

TORN_MAX: Final = 3
"""Torn taps a card is asked about: each costs a command."""
_NOTHING: Final = Request(0, "000101", "000000")


def proven(memory: Memory, reader: Reader) -> Flow[Item | None]:
    """The torn tap that the card in the field has completed; it is torn no more. None where it completed none."""
    session = Session(reader.kernel, _NOTHING, CONTACTLESS)
    try:
        for candidate in (yield from select.tap_candidates(reader.kernel)):
            if (yield from select.open_application(session, candidate)) is None:
                continue
            for item in reversed(memory.torn):
                if (yield from _paid(item)):
                    memory.torn.remove(item)
                    _complete(item)
                    return item
    except (CardRemoved, Cancelled, Ended, WireError):
        return None
    return None


def _paid(item: Item) -> Flow[bool]:
    chip = item.chip
    assert chip is not None
    data, sw = yield from exchange(apdu.get_trans_prove(chip.atc.to_bytes(2, "big")))
    return sw == apdu.OK and data[-8:].hex().upper() == chip.ac


def _complete(item: Item) -> None:
    """DE55 out of all that was read before the card was gone, its records too."""
    chip = item.chip
    assert chip is not None
    values = {"9F74": icc.E_CASH_CODE} | (chip.read or {}) | {"8A": b"Y1"}
    chip.psn = values["5F34"].hex().zfill(3) if "5F34" in values else chip.psn
    chip.data, chip.read = icc.build(icc.OFFLINE, values), None


def write(memory: Memory, item: Item) -> None:
    """Write down a certificate whose card is about to pay; the oldest of too many is listed."""
    memory.torn.append(item)
    while len(memory.torn) > TORN_MAX:
        memory.doubts.append(memory.torn.pop(0))


def settle(memory: Memory, before: list[Item], presented: Presented) -> None:
    """What became of the taps written down in one dialogue; `before` are those of earlier ones.

    An approval settles those of its card: the kernel has asked the card itself; earlier ones of it it has denied,
    which is the truth if it has made no other transaction since. A refusal after the certificate leaves a card
    that has paid and a sale that was not made: it is listed and never claimed.
    """
    if not memory.torn:
        return
    fresh = [item for item in memory.torn if all(item is not one for one in before)]
    if presented.outcome == "approved":
        fresh = [item for item in fresh if item.pan != presented.pan]
        before = [item for item in before if not _denied(memory, item, presented)]
    elif presented.outcome == "declined":
        memory.doubts += fresh[-1:]
        fresh = []
    memory.torn = [*before, *fresh]


def _denied(memory: Memory, item: Item, presented: Presented) -> bool:
    if item.pan != presented.pan:
        return False
    if item.chip is not None and item.chip.atc + 1 != presented.atc:
        memory.doubts.append(item)
    return True
