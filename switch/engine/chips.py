"""What the switch looks at in a chip's request: DE55 whole, the card's count, how it was read, who pays without PIN.

The cryptogram itself is the issuer's business. Policy (fallback, who may go without a PIN) is the profile's and the
chip table's; a request without DE55 passes here at the price of a few look-ups.
"""

from collections.abc import Mapping
from typing import Any, Final

from switch.engine import admit
from switch.engine.books import Exchange
from switch.engine.office import Office
from switch.wire import icc
from switch.wire.errors import TlvError

CONTACT, CONTACTLESS, UNRELIABLE, FULL_CONTACTLESS, FALLBACK = "05", "07", "95", "98", "80"
"""First two digits of DE22."""
READ: Final = frozenset((CONTACT, CONTACTLESS, UNRELIABLE, FULL_CONTACTLESS))
READS_CHIPS: Final = frozenset("56")
"""DE60.4 of a terminal that reads chips."""
CHIP_CARD: Final = frozenset("26")
"""First digit of the service code in a chip card's track 2."""
CHIP_FAILED: Final = "2"
"""DE60.5: the chip was tried before the stripe."""
OFFLINE_DECLINED: Final = "Z1"
WRONG_AMOUNT: Final = "64"
DEBIT_CREDIT, E_CASH = "1", "2"
"""DE60.3.7 on the network."""


def object_to(office: Office, exchange: Exchange, request: Mapping[int, Any], pan: str) -> str:
    """Take from a request what the books need of its chip; the code that refuses it, "" to go on."""
    data = request.get(55)
    if data is not None:
        return _chip(office, exchange, request, data, pan)
    row = exchange.row
    if not row.carries_icc:
        return ""
    chips = office.pos.chips
    if exchange.entry_mode[:2] in READ:
        return admit.FORMAT_ERROR if chips.icc_required else ""
    if 35 in request and chips.stripe_refused:
        return _stripe(office, exchange, request)
    return ""


def looks(office: Office, exchange: Exchange, request: Mapping[int, Any]) -> bool:
    """Whether `object_to` may have something to say of another request of the same kind."""
    chip = exchange.row.carries_icc and exchange.entry_mode[:2] not in READ and request[60][11:12] in READS_CHIPS
    return 55 in request or bool(chip and 35 in request and office.pos.chips.stripe_refused)


def _chip(office: Office, exchange: Exchange, request: Mapping[int, Any], data: bytes, pan: str) -> str:
    row = exchange.row
    try:
        found = icc.scan(data)
    except TlvError:
        return admit.FORMAT_ERROR
    count = found.get(icc.ATC, b"")
    if row.carries_icc and len(count) != 2:
        return admit.FORMAT_ERROR
    exchange.atc = count.hex().upper()
    e_cash = row.chip in ("load", "takeup") or icc.E_CASH_CODE in found
    small = (
        exchange.entry_mode[:2] == CONTACTLESS
        and row.effect == "debit"
        and not row.chip
        and request.get(53, "0")[0] == "0"
        and office.chips.without_pin(exchange.mid, pan, exchange.amount)
    )
    reader = request[60][11:13]
    exchange.read = f"{reader or '00':0<2}{'1' if small else '0'}{E_CASH if e_cash else DEBIT_CREDIT}"
    if row.advice:
        exchange.icc = data
    return _offline(office, exchange, found) if row.chip == "offline" else ""


def _offline(office: Office, exchange: Exchange, found: dict[int, bytes]) -> str:
    """An upload: of a certificate and the amount it certifies, once a count; the card's own decline is only listed."""
    kind = icc.cryptogram(found)
    if icc.ARC not in found or icc.AC not in found or icc.IAD not in found:
        return admit.FORMAT_ERROR
    if kind == icc.AAC:
        return OFFLINE_DECLINED
    if kind != icc.TC:
        return admit.FORMAT_ERROR
    if found.get(icc.AMOUNT, b"").hex() != f"{exchange.amount:012d}":
        return WRONG_AMOUNT
    if office.books.spend(exchange):
        return ""
    office.statistics.duplicates += 1
    return admit.DUPLICATE


def _stripe(office: Office, exchange: Exchange, request: Mapping[int, Any]) -> str:
    """The stripe of a chip card where the chip could be read: refused, unless it is marked as a fallback."""
    reader = request[60][11:13]
    if reader[:1] not in READS_CHIPS:
        return ""
    exchange.read = f"{reader:0<2}00"
    service = request[35].replace("=", "D").partition("D")[2][4:5]
    if service not in CHIP_CARD:
        return ""
    allowed = office.pos.chips.fallback
    if exchange.entry_mode[:2] == FALLBACK:
        marked = "80" in allowed
    else:
        marked = reader[1:] == CHIP_FAILED and "02" in allowed
    if not marked:
        return office.pos.chips.stripe_refused
    exchange.read = f"{reader[:1]}{CHIP_FAILED}00"
    return ""


def told(code: str) -> str:
    """What the terminal is answered: a decline of the card's own has arrived, which is all it asks."""
    return "00" if code == OFFLINE_DECLINED else code


def repeated_of(data: bytes) -> bytes | None:
    """What a terminal's reversal passes on of its DE55; None where it cannot be read."""
    try:
        found = icc.scan(data)
    except TlvError:
        return None
    return icc.chosen(found, icc.REVERSAL_TAGS)


def count_alone(exchange: Exchange) -> bytes:
    """DE55 of the switch's own reversal of a chip's transaction: the count names it."""
    return icc.chosen({icc.ATC: bytes.fromhex(exchange.atc)}, (icc.ATC,))
