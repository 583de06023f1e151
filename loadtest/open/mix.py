"""What customers come for: chains of transactions, a sale and perhaps what follows it, each with its share."""

import random
from typing import Final, NamedTuple

from switch.wire.transactions import BY_NAME

FIRST: Final = ("sale", "balance", "preauth")
AFTER: Final = {"sale": ("sale_void", "refund"), "preauth": ("preauth_void", "completion")}
SHORT: Final = {"void": {"sale": "sale_void", "preauth": "preauth_void"}}
AS_GIVEN: Final = "sale=90,sale+void=5,sale+refund=5"


class Chain(NamedTuple):
    """One customer's transactions in order; each after the first speaks of the first."""

    steps: tuple[str, ...]
    share: int


class Mix:
    """Chains by share."""

    def __init__(self, chains: list[Chain]) -> None:
        self.chains = chains
        self._steps = [chain.steps for chain in chains]
        self._shares: list[int] = []
        for chain in chains:
            self._shares.append((self._shares[-1] if self._shares else 0) + chain.share)

    def draw(self, draw: random.Random) -> tuple[str, ...]:
        """What the next customer comes for."""
        if len(self._steps) == 1:
            return self._steps[0]
        return draw.choices(self._steps, cum_weights=self._shares)[0]

    @property
    def messages(self) -> float:
        """Transactions that a customer makes on average, where all are approved."""
        return sum(len(chain.steps) * chain.share for chain in self.chains) / self._shares[-1]


def read_mix(text: str) -> Mix:
    """ "sale=90,sale+void=5,sale+refund=5": chains and their shares. Raises ValueError."""
    chains = []
    for part in text.split(","):
        words, _, share = part.strip().partition("=")
        if not (share.isascii() and share.isdigit() and 0 < int(share) <= 10_000):
            raise ValueError(f"{part.strip()!r}: KIND=SHARE or KIND+KIND=SHARE is needed, a share from 1 to 10000")
        first, *rest = (word.strip() for word in words.split("+"))
        if first not in FIRST or len(rest) > 1:
            raise ValueError(f"{words!r}: begins with {', '.join(FIRST)}, and one transaction may follow")
        steps = [first]
        for word in rest:
            kind = SHORT.get(word, {}).get(first, word)
            if kind not in AFTER.get(first, ()) or kind not in BY_NAME:
                known = ", ".join(AFTER.get(first, ())) or "nothing"
                raise ValueError(f"{words!r}: after {first} comes {known}")
            steps.append(kind)
        chains.append(Chain(tuple(steps), int(share)))
    return Mix(chains)
