"""The card's memory of what it did: trade log, load log, and the proof of the last offline transaction."""

from typing import TYPE_CHECKING, Final

from terminals.card.profile import CONTACT, LOAD_LOG_FORMAT, LOG_FORMAT
from terminals.card.words import NO_PROOF, NO_RECORD, OK, WRONG_LENGTH, WRONG_ORDER, WRONG_PLACE, bcd

if TYPE_CHECKING:
    from terminals.card.card import Icc
    from terminals.card.image import ImageApplication

_TRADE: Final = (
    ("9A", 3), ("9F21", 3), ("9F02", 6), ("9F03", 6), ("9F1A", 2), ("5F2A", 2), ("9F4E", 20), ("9C", 1), ("9F36", 2),
)  # fmt: skip
TRADE_BYTES: Final = sum(size for _, size in _TRADE)
LOAD_BYTES: Final = 22


def format_of(app: "ImageApplication", tag: str) -> bytes | None:
    """9F4F and DF4F, where the application keeps that log."""
    if tag == "9F4F" and app.spec.log[0]:
        return LOG_FORMAT
    return LOAD_LOG_FORMAT if tag == "DF4F" and app.spec.load_log[0] else None


def add_trade(icc: "Icc", app: "ImageApplication", ac: bytes, written: bool = True) -> None:
    """A completed transaction: its cryptogram as proof, and an entry of the trade log where one is kept."""
    state, values = icc.state, icc.values
    state.proof_atc, state.proof = state.atc, ac
    count = app.spec.log[1]
    if not written or not app.spec.log[0] or not count:
        return
    entry = b"".join([values.get(tag, b"").ljust(size, b"\0")[:size] for tag, size in _TRADE])
    state.trades = (entry + state.trades)[: count * TRADE_BYTES]


def add_load(icc: "Icc", app: "ImageApplication", tag: str, before: int, after: int) -> None:
    """A load of a purse: which (9F79 or DF79), balance before and after, date, time and ATC."""
    count = app.spec.load_log[1]
    if not app.spec.load_log[0] or not count:
        return
    values = icc.values
    entry = bytes.fromhex(tag) + bcd(before) + bcd(after)
    entry += values.get("9A", bytes(3)) + values.get("9F21", bytes(3)) + icc.atc
    state = icc.state
    state.loads = (entry + state.loads)[: count * LOAD_BYTES]


def read(icc: "Icc", app: "ImageApplication", file: int, number: int) -> bytes:
    """READ RECORD of a log: 1 is the newest; 0 of the load log gives ATC, count, all entries and their MAC."""
    loads = file == app.spec.load_log[0]
    size = LOAD_BYTES if loads else TRADE_BYTES
    entries = icc.state.loads if loads else icc.state.trades
    if number == 0 and loads and icc.path is not None and icc.interface == CONTACT:
        body = icc.atc + bytes((len(entries) // size,)) + entries
        return body + icc.session("mac").mac4(body) + OK
    entry = entries[(number - 1) * size : number * size] if number else b""
    return entry + OK if entry else NO_RECORD


def prove(icc: "Icc", p1: int, p2: int, data: bytes) -> bytes:
    """GET TRANS PROVE: the TC of the transaction with this ATC; 9406 if the card did not complete it as its last."""
    if p1 or p2:
        return WRONG_PLACE
    if icc.app is None or not icc.app.spec.payment:
        return WRONG_ORDER
    if len(data) != 2:
        return WRONG_LENGTH
    state = icc.state
    if not state.proof_atc or state.proof_atc != int.from_bytes(data, "big"):
        return NO_PROOF
    return state.proof + OK
