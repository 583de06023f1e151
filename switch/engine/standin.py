"""Stand-in for the bank's own core (代授权): while it cannot be asked, the switch itself approves small sales.

For nobody else: whoever approves another bank's card pays for it. Off unless configured, and then for cards of a
counterpart marked as the own core only, for plain sales up to a floor amount, and so many for a card. An approval is
told to the core as an advice (0220) under the key its request would have had, stored and repeated until it is taken.
"""

from typing import Final, NamedTuple

from switch.engine.books import Exchange

REASON: Final = "stand-in"
"""The reason of its *stored* row."""

CARDS_MAX: Final = 100_000
"""Cards remembered; beyond it nothing more is approved."""


class StandIn(NamedTuple):
    """Up to `floor_minor` a sale (0: never), `count_max` sales a card until the core can be asked again."""

    floor_minor: int = 0
    count_max: int = 3

    def approves(self, exchange: Exchange, own: bool, pin: bool, given: dict[str, int]) -> bool:
        """Whether a request that cannot be put to the core is approved; counts it in `given` (by the card's hash).

        A PIN cannot be verified here, and neither can a chip's cryptogram: such requests are not approved.
        """
        row = exchange.row
        plain = row.effect == "debit" and row.sign > 0 and not (row.original or row.chip or row.cash or row.points)
        if not own or not plain or row.advice or row.assisted or row.detail or pin or exchange.atc:
            return False
        if not 0 < exchange.amount <= self.floor_minor:
            return False
        if len(given) >= CARDS_MAX or given.get(exchange.pan_hash, 0) >= self.count_max:
            return False
        given[exchange.pan_hash] = given.get(exchange.pan_hash, 0) + 1
        return True


OFF: Final = StandIn()


def auth_code(rrn: str) -> str:
    """DE38 of such an approval: S and five digits of its RRN, so that anybody sees who gave it."""
    return f"S{rrn[-5:]}"
