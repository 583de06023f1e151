"""Cardholder verification: the card's list of methods, rule by rule, and its results (9F34) bit-exact.

EMV Book 3, 10.5; PBOC adds rule 20, the holder's certificate (证件出示).
"""

from functools import lru_cache
from typing import Final

from switch.crypto.errors import PinFormatError
from switch.crypto.pinblock import encode
from switch.wire import apdu, bits
from terminals.flow import Ask, Flow
from terminals.kernel.read import get_data
from terminals.kernel.session import CASH, CASHBACK, Session, exchange

UNKNOWN: Final = 0
FAILED: Final = 1
SUCCESSFUL: Final = 2
NO_CVM_PERFORMED: Final = 0x3F0000

_NEXT_IF_FAILED: Final = 0x40
_FAIL, _PLAIN_PIN, _ONLINE_PIN, _PLAIN_PIN_SIGNATURE = 0x00, 0x01, 0x02, 0x03
_ENCIPHERED_PIN, _ENCIPHERED_PIN_SIGNATURE, _SIGNATURE, _NO_CVM, _HOLDER_ID = 0x04, 0x05, 0x1E, 0x1F, 0x20
_CAPABILITY: Final = {
    _PLAIN_PIN: bits.TERMINAL_PLAIN_PIN,
    _ONLINE_PIN: bits.TERMINAL_ONLINE_PIN,
    _PLAIN_PIN_SIGNATURE: bits.TERMINAL_PLAIN_PIN | bits.TERMINAL_SIGNATURE,
    _ENCIPHERED_PIN: bits.TERMINAL_ENCIPHERED_PIN,
    _ENCIPHERED_PIN_SIGNATURE: bits.TERMINAL_ENCIPHERED_PIN | bits.TERMINAL_SIGNATURE,
    _SIGNATURE: bits.TERMINAL_SIGNATURE,
    _NO_CVM: bits.TERMINAL_NO_CVM,
    _HOLDER_ID: bits.TERMINAL_HOLDER_ID,
    _FAIL: 0,
}
_UNSUPPORTED_HERE: Final = frozenset((_ENCIPHERED_PIN, _ENCIPHERED_PIN_SIGNATURE))
"""Enciphered offline PIN: known, but this terminal's PIN pad does not speak it."""
_OFFLINE_PINS: Final = frozenset((_PLAIN_PIN, _PLAIN_PIN_SIGNATURE, _ENCIPHERED_PIN, _ENCIPHERED_PIN_SIGNATURE))
_ONLINE_PIN_RESULTS: Final = 0x020300


@lru_cache(256)
def parsed(listed: bytes) -> tuple[int, int, tuple[tuple[int, int], ...]] | None:
    """Amounts X and Y and the (rule, condition) pairs; None for a list without rules or with half a rule."""
    if len(listed) < 10 or len(listed) % 2:
        return None
    pairs = tuple((listed[at], listed[at + 1]) for at in range(8, len(listed), 2))
    return int.from_bytes(listed[:4], "big"), int.from_bytes(listed[4:8], "big"), pairs


def verify(session: Session) -> Flow[None]:
    """Go through the list; sets the session's method, PIN, 9F34, TVR byte 3 and TSI."""
    session.cvm_results = NO_CVM_PERFORMED
    if session.kernel.atm:
        session.tsi |= bits.TSI_CVM
        yield from online_pin_anyway(session)
        return
    if not session.aip & bits.AIP_CVM:
        return
    methods = parsed(session.values.get("8E", b""))
    if methods is None:
        session.tvr |= bits.TVR_ICC_DATA_MISSING
        return
    session.tsi |= bits.TSI_CVM
    x, y, pairs = methods
    session.cvm_results = NO_CVM_PERFORMED | FAILED
    for rule, condition in pairs:
        method = rule & 0x3F
        if not _applies(session, method, condition, x, y):
            continue
        if method not in _CAPABILITY:
            session.tvr |= bits.TVR_CVM_UNKNOWN
        else:
            result = yield from _perform(session, method)
            if result is not None:
                session.cvm_results = rule << 16 | condition << 8 | result
                if result != FAILED:
                    return
        if not rule & _NEXT_IF_FAILED:
            break
    session.tvr |= bits.TVR_CVM_FAILED
    session.cvm = "none"


def online_pin_anyway(session: Session) -> Flow[None]:
    """An online PIN whatever the list says: at cash machines, and where electronic cash has to go online."""
    session.cvm_results = _ONLINE_PIN_RESULTS
    if not (yield from _online_pin(session)):
        session.cvm_results |= FAILED
        session.tvr |= bits.TVR_CVM_FAILED


def takes_online_pin(session: Session) -> bool:
    """Whether this terminal asks for a PIN for this application's issuer."""
    return _supported(session, _ONLINE_PIN)


def _applies(session: Session, method: int, condition: int, x: int, y: int) -> bool:
    """Whether a condition is met; one nobody knows is not."""
    request, kernel = session.request, session.kernel
    if condition == 0x00:
        return True
    cash, cashback = request.type_9c == CASH, request.type_9c == CASHBACK
    if condition == 0x01:
        return cash and kernel.unattended
    if condition == 0x02:
        return not cash and not cashback
    if condition == 0x03:
        return method in _CAPABILITY and _supported(session, method)
    if condition == 0x04:
        return cash and not kernel.unattended
    if condition == 0x05:
        return cashback
    if condition > 0x09 or session.values.get("9F42") != session.values["5F2A"]:
        return False
    limit = x if condition < 0x08 else y
    return request.amount_minor > limit if condition & 1 else request.amount_minor < limit


def _supported(session: Session, method: int) -> bool:
    needed = _CAPABILITY[method]
    if method in _UNSUPPORTED_HERE or (method == _ONLINE_PIN and not _takes_online_pin(session)):
        return False
    return session.kernel.capabilities & needed == needed


def _takes_online_pin(session: Session) -> bool:
    return session.aid is None or session.aid.online_pin


def _perform(session: Session, method: int) -> Flow[int | None]:
    """The result of one method; None where it could not even begin (9F34 then tells of none performed)."""
    if method == _FAIL:
        return FAILED
    if not _supported(session, method):
        if method == _ONLINE_PIN or (method in _OFFLINE_PINS and not _any_offline_pin(session)):
            session.tvr |= bits.TVR_NO_PINPAD
        return None
    if method == _ONLINE_PIN:
        return UNKNOWN if (yield from _online_pin(session)) else FAILED
    if method == _SIGNATURE:
        session.cvm, session.signature = "signature", True
        return UNKNOWN
    if method == _NO_CVM:
        session.cvm = "none"
        return SUCCESSFUL
    if method == _HOLDER_ID:
        shown = yield Ask("holder_id", (session.values.get("9F62", b""), session.values.get("9F61", b"")))
        return SUCCESSFUL if shown is True else FAILED
    if not (yield from _offline_pin(session)):
        return FAILED
    session.cvm = "offline_pin"
    if method == _PLAIN_PIN_SIGNATURE:
        session.signature = True
        return UNKNOWN
    return SUCCESSFUL


def _any_offline_pin(session: Session) -> bool:
    return bool(session.kernel.capabilities & (bits.TERMINAL_PLAIN_PIN | bits.TERMINAL_ENCIPHERED_PIN))


def _online_pin(session: Session) -> Flow[bool]:
    """Ask for the PIN that goes to the issuer; TVR says whether it was entered."""
    digits = yield Ask("pin", session.face)
    if not digits:
        session.tvr |= bits.TVR_NO_PINPAD if digits is None else bits.TVR_PIN_NOT_ENTERED
        return False
    session.pin, session.cvm = digits, "online_pin"
    session.tvr |= bits.TVR_ONLINE_PIN
    return True


def _offline_pin(session: Session) -> Flow[bool]:
    """VERIFY with what the holder enters, until it fits, none is entered, or no try is left."""
    tries = yield from get_data("9F17")
    left: int | None = tries[0] if tries is not None and len(tries) == 1 else None
    if left == 0:
        session.tvr |= bits.TVR_PIN_TRIES
        return False
    for _ in range(16):
        digits = yield Ask("offline_pin", left)
        if not digits:
            session.tvr |= bits.TVR_NO_PINPAD if digits is None else bits.TVR_PIN_NOT_ENTERED
            return False
        try:
            block = encode("iso2", digits)
        except PinFormatError:
            session.tvr |= bits.TVR_PIN_NOT_ENTERED
            return False
        _, sw = yield from exchange(apdu.verify(block))
        if sw == apdu.OK:
            return True
        if sw in (apdu.PIN_BLOCKED, apdu.PIN_WAS_BLOCKED, 0x63C0):
            session.tvr |= bits.TVR_PIN_TRIES
            return False
        if sw & 0xFFF0 != 0x63C0:
            return False
        left = sw & 15
    return False
