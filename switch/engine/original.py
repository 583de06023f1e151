"""The earlier transaction that a void, refund or completion speaks of, found in the books and checked against it."""

from typing import Any

from switch.engine.books import Books, Exchange
from switch.wire.errors import DecodeError
from switch.wire.private_62 import read_original_terminal

UPLOADED_BEFORE = "94"
NOT_FOUND, WRONG_AMOUNT, WRONG_CARD, NOT_ALLOWED = "25", "64", "14", "12"


def find_original(books: Books, exchange: Exchange, request: dict[int, Any]) -> tuple[Exchange | None, str]:
    """The original of `exchange` and a response code, "" when the two fit together."""
    row = exchange.row
    if row.original == "stan":
        original = _by_stan(books, exchange, request[61])
        if row.chip == "notice":  # it may speak of a transaction declined or reversed, and of another card (a load)
            return (None, NOT_FOUND) if original is None or not original.net_stan else (original, "")
    elif row.original == "terminal":
        original = _by_terminal(books, request)
        if original is not None and original.response_code == UPLOADED_BEFORE:
            original = books.uploaded_first(original)  # for its terminal 94 is as good as 00
    elif row.original == "rrn":
        original = books.find_rrn(request[37])
    else:
        original = books.by_auth.get((request[38], exchange.pan_hash))
    if row.confirms:
        return _confirmed(exchange, original), ""
    if original is None or original.mid != exchange.mid or not original.counts or original.kind not in row.of:
        return None, NOT_FOUND
    if original.pan_hash != exchange.pan_hash:
        return original, WRONG_CARD
    return original, _fits(exchange, original)


def _by_stan(books: Books, exchange: Exchange, de61: str) -> Exchange | None:
    """DE61: batch and STAN of a transaction of this terminal."""
    return books.find((exchange.tid, de61[:6], de61[6:12]))


def _by_terminal(books: Books, request: dict[int, Any]) -> Exchange | None:
    """DE61 and DE62: batch and STAN of a transaction of any terminal of this merchant."""
    try:
        tid = read_original_terminal(request[62])
    except DecodeError:
        return None
    return books.find((f"{tid:8}", request[61][:6], request[61][6:12]))


def _confirmed(exchange: Exchange, original: Exchange | None) -> Exchange | None:
    """The request that a confirmation tells again, if it ever left the switch; without one it stands for itself."""
    if original is None or not original.net_stan or original.kind not in exchange.row.of:
        return None
    return original if original.pan_hash == exchange.pan_hash and original.amount == exchange.amount else None


def _fits(exchange: Exchange, original: Exchange) -> str:
    if original.undone:
        return NOT_ALLOWED
    amount = exchange.amount
    match exchange.row.effect:
        case "credit":
            return WRONG_AMOUNT if amount > original.amount - original.refunded else ""
        case "undo":
            if original.refunded or (original.added and original.row.effect != "hold"):
                return NOT_ALLOWED
            return "" if amount == original.amount + original.added else WRONG_AMOUNT
        case "debit":  # a tip or an adjustment: once, in the batch of what it adds to
            if original.batch != exchange.batch:
                return NOT_FOUND
            return NOT_ALLOWED if original.added or original.refunded else ""
        case "none":
            return "" if amount == original.amount else WRONG_AMOUNT
        case _:
            return ""  # a completion may differ from its pre-authorization; the issuer knows its limit
