"""The earlier transaction that a void, refund or completion speaks of, found in the books and checked against it."""

from typing import Any

from switch.engine.books import Books, Exchange

NOT_FOUND, WRONG_AMOUNT, WRONG_CARD, NOT_ALLOWED = "25", "64", "14", "12"


def find_original(books: Books, exchange: Exchange, request: dict[int, Any]) -> tuple[Exchange | None, str]:
    """The original of `exchange` and a response code, "" when the two fit together."""
    row = exchange.row
    if row.original == "stan":
        original = _by_stan(books, exchange, request[61])
    elif row.original == "rrn":
        original = books.by_rrn.get(request[37])
    else:
        original = books.by_auth.get((request[38], exchange.pan_hash))
    if original is None or original.mid != exchange.mid or not original.counts:
        return None, NOT_FOUND
    wanted = row.undoes or ("preauth" if row.original == "auth" else "")
    if wanted and original.kind != wanted:
        return None, NOT_FOUND
    if original.pan_hash != exchange.pan_hash:
        return original, WRONG_CARD
    return original, _fits(exchange, original)


def _by_stan(books: Books, exchange: Exchange, de61: str) -> Exchange | None:
    """DE61: batch and STAN of a transaction of this terminal."""
    return books.exchanges.get((exchange.tid, de61[:6], de61[6:12]))


def _fits(exchange: Exchange, original: Exchange) -> str:
    if original.undone:
        return NOT_ALLOWED
    if exchange.kind == "refund":
        if original.row.sign <= 0:
            return NOT_FOUND
        return WRONG_AMOUNT if exchange.amount > original.amount - original.refunded else ""
    if exchange.row.undoes:
        if original.refunded:
            return NOT_ALLOWED
        return "" if exchange.amount == original.amount else WRONG_AMOUNT
    return ""  # a completion may differ from its pre-authorization; the issuer knows its limit
