"""Requests that were told again as a fact: an unanswered deposit and its confirmation are one movement of money.

The host may have taken the request, or its confirmation; whichever did has moved the money, the other nothing. In the
joined books the confirmation stands for both.
"""

from switch.clearing.books import Deal, NetKey, Posting
from switch.wire.transactions import BY_NAME


def take_over(by_rrn: dict[str, Deal], posted: dict[NetKey, Posting]) -> dict[str, Deal]:
    """The deals without those that a standing confirmation speaks for; their postings are moved to it."""
    left = dict(by_rrn)
    for deal in by_rrn.values():
        row = BY_NAME.get(deal.kind)
        original = left.get(str(deal.first["original_rrn"]))
        if row is None or not row.confirms or not deal.stands or original is None:
            continue
        del left[original.first["rrn"]]
        theirs = posted.pop(original.net_key, None)
        if theirs is None:
            continue
        own = posted.setdefault(deal.net_key, Posting())
        own.posted += theirs.posted
        own.held += theirs.held
    return left
