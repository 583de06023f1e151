"""Issuer scripts as the card carries them out: secure messaging checked, then the one change they ask for.

Accepted after the first GENERATE AC, under its cryptogram; a wrong MAC is 6988, and 6985 for all that follows.
"""

import hmac
from typing import TYPE_CHECKING, Final

from switch.crypto import script as writing
from switch.crypto.errors import PinFormatError
from terminals.card import logs
from terminals.card.state import CARD_BLOCKED, SCRIPT_FAILED
from terminals.card.words import (
    NO_FILE,
    NO_RECORD,
    OK,
    WRONG_DATA,
    WRONG_LENGTH,
    WRONG_MAC,
    WRONG_ORDER,
    WRONG_PLACE,
    amount,
)

if TYPE_CHECKING:
    from terminals.card.card import Icc
    from terminals.card.image import ImageApplication

WRITABLE: Final = {
    "9F53": 1, "9F54": 6, "9F58": 1, "9F59": 1, "9F5C": 6, "9F6B": 6, "9F6D": 6, "9F72": 1, "9F73": 4, "9F75": 6,
    "9F77": 6, "9F78": 6, "9F79": 6, "DF61": 2, "DF62": 6, "DF72": 6, "DF76": 6, "DF77": 6, "DF78": 6, "DF79": 6,
}  # fmt: skip
"""What PUT DATA may write, and its length."""

_PURSES: Final = {"9F79": "9F77", "DF79": "DF77"}
_AMOUNTS: Final = frozenset(tag for tag, size in WRITABLE.items() if size == 6)


def _opened(icc: "Icc", header: bytes, data: bytes) -> tuple[bytes, bytes]:
    """The data of a command whose MAC is right and b"", or b"" and the status word it earned."""
    if not icc.scripts_open or icc.app is None or icc.path is None or icc.script_dead:
        return b"", WRONG_ORDER
    if len(data) < writing.MAC:
        return b"", WRONG_LENGTH
    body, mac = data[: -writing.MAC], data[-writing.MAC :]
    covered = writing.mac_input(header + bytes((len(data),)), icc.state.atc, icc.first_ac, body)
    if not hmac.compare_digest(icc.session("mac").mac4(covered), mac):
        icc.script_dead = True
        _counted(icc, failed=True)
        return b"", WRONG_MAC
    return body, b""


def _counted(icc: "Icc", failed: bool) -> None:
    """How many commands the last online transaction brought, and whether one failed, for the next CVR."""
    state = icc.state
    if not icc.script_seen:
        icc.script_seen = True
        state.scripts = 0
        state.flags &= ~SCRIPT_FAILED
    if failed:
        state.flags |= SCRIPT_FAILED
    state.scripts = min(state.scripts + 1, 15)


def _ended(icc: "Icc", sw: bytes) -> bytes:
    _counted(icc, failed=sw != OK)
    return sw


def put_data(icc: "Icc", p1: int, p2: int, data: bytes) -> bytes:
    """04 DA: one element anew; a purse not above its limit (9F77, DF77), with an entry of the load log."""
    value, refused = _opened(icc, bytes((0x04, 0xDA, p1, p2)), data)
    if refused:
        return refused
    app = icc.app
    assert app is not None
    tag = (bytes((p1, p2)) if p1 else bytes((p2,))).hex().upper()
    size = WRITABLE.get(tag)
    if size is None or tag not in app.spec.objects:
        return _ended(icc, WRONG_DATA)
    if len(value) != (len(app.spec.objects[tag]) or size):
        return _ended(icc, WRONG_LENGTH)
    if tag in _AMOUNTS and amount(value) is None:
        return _ended(icc, WRONG_DATA)
    if tag in _PURSES:
        return _ended(icc, _load(icc, app, tag, int(value.hex())))
    icc.state.more().objects[app.spec.index, tag] = value
    return _ended(icc, OK)


def _load(icc: "Icc", app: "ImageApplication", tag: str, after: int) -> bytes:
    limit = icc.number(_PURSES[tag])
    if limit is not None and after > limit:
        return WRONG_DATA
    state = icc.state
    before = state.balance if tag == "9F79" else state.balance2
    if tag == "9F79":
        state.balance = after
    else:
        state.balance2 = after
    logs.add_load(icc, app, tag, before, after)
    return OK


def update_record(icc: "Icc", p1: int, p2: int, data: bytes) -> bytes:
    """04 DC: a whole record anew; files of logs are the card's own."""
    value, refused = _opened(icc, bytes((0x04, 0xDC, p1, p2)), data)
    if refused:
        return refused
    app, file = icc.app, p2 >> 3
    assert app is not None
    if p2 & 7 != 4:
        return _ended(icc, WRONG_PLACE)
    if not app.has_file(file):
        return _ended(icc, NO_FILE)
    if file << 8 | p1 not in app.spec.records:
        return _ended(icc, NO_RECORD)
    if not value:
        return _ended(icc, WRONG_LENGTH)
    icc.state.more().records[app.spec.index, file << 8 | p1] = value
    return _ended(icc, OK)


def _switch(icc: "Icc", ins: int, p1: int, p2: int, data: bytes) -> bytes:
    """Opens a command that carries nothing but its MAC; OK, or the status word to answer."""
    value, refused = _opened(icc, bytes((0x84, ins, p1, p2)), data)
    if refused:
        return refused
    if p1 or p2:
        return _ended(icc, WRONG_PLACE)
    return _ended(icc, OK if not value else WRONG_LENGTH)


def block_application(icc: "Icc", p1: int, p2: int, data: bytes) -> bytes:
    """84 1E: SELECT answers 6283 from now on, cryptograms are AACs."""
    answer = _switch(icc, 0x1E, p1, p2, data)
    if answer == OK and icc.app is not None:
        icc.state.blocked |= 1 << icc.app.spec.index
    return answer


def unblock_application(icc: "Icc", p1: int, p2: int, data: bytes) -> bytes:
    """84 18: the application works again."""
    answer = _switch(icc, 0x18, p1, p2, data)
    if answer == OK and icc.app is not None:
        icc.state.blocked &= ~(1 << icc.app.spec.index)
    return answer


def block_card(icc: "Icc", p1: int, p2: int, data: bytes) -> bytes:
    """84 16: every later SELECT answers 6A81."""
    answer = _switch(icc, 0x16, p1, p2, data)
    if answer == OK:
        icc.state.flags |= CARD_BLOCKED
    return answer


def change_pin(icc: "Icc", p1: int, p2: int, data: bytes) -> bytes:
    """84 24: tries given back (P2 00), a new PIN crossed with the one in force (01) or not (02)."""
    value, refused = _opened(icc, bytes((0x84, 0x24, p1, p2)), data)
    if refused:
        return refused
    if p1 or p2 not in (writing.UNBLOCK, writing.CHANGE_WITH_CURRENT, writing.CHANGE):
        return _ended(icc, WRONG_PLACE)
    if len(value) != (0 if p2 == writing.UNBLOCK else 16):
        return _ended(icc, WRONG_LENGTH)
    state = icc.state
    if p2 != writing.UNBLOCK:
        assert icc.path is not None
        present = state.extras.pin if state.extras is not None and state.extras.pin else icc.image.pin
        part = icc.image.card_key(icc.path.suite, icc.image.pin_key).pin_part
        try:
            block = writing.deciphered(icc.session("enc"), value)
            pin = writing.pin_of(part, block, present if p2 == writing.CHANGE_WITH_CURRENT else None)
        except PinFormatError:
            return _ended(icc, WRONG_DATA)
        state.more().pin = pin
    state.pin_tries = icc.image.pin_tries
    return _ended(icc, OK)
