"""The chip cards of a world: who has issued them, who holds them, what reads them.

Cards are dear to make, so that a few issues of them serve all seeds of a process; what a card remembers is each world's
own.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from switch.crypto.digest import sm3
from switch.crypto.oda import KeyRing
from switch.engine.counterpart import BEIJING_S
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.chips import AidRecord, CaKeyRecord, ChipTable, NoPin
from terminals.card.mint import Minter
from terminals.card.signing import ca_keys
from terminals.device.atm import AtmMemory
from terminals.device.memory import Memory
from terminals.fleet import Terminal
from terminals.hands import Hands
from terminals.readers import Readers

CARDS: Final = 60
"""Of each issuer."""
ISSUES: Final = 4
_AIDS: Final = ("A000000333010101", "A000000333010102", "A000000333010103", "A000000333010106")
_NO_PIN: Final = NoPin(limit_minor=100_000, merchants="all", bins=("621214", "628000"))


@lru_cache(maxsize=ISSUES)
def _issue(number: int) -> Minter:
    return Minter(Portfolio(number, STANDARD_ISSUERS, CARDS), number)


def issue(seed: int) -> tuple[Portfolio, Minter]:
    """The cards of a seed's world, and what makes them."""
    minter = _issue(seed % ISSUES)
    if minter.portfolio is None:
        raise TypeError("a minter of issued cards is needed")
    return minter.portfolio, minter


@lru_cache(maxsize=1)
def chip_table() -> ChipTable:
    """What the switch tells terminals about chips: applications and the test CAs' keys."""
    keys = tuple(
        CaKeyRecord(
            rid=key.rid.hex(), index=f"{key.index:02x}", expiry=f"20{key.expiry}",
            algorithm="rsa" if key.kind == "rsa" else "sm2",
            key=key.modulus.hex(), exponent=key.exponent.hex() if key.kind == "rsa" else "",
            checksum="" if key.kind == "rsa" else sm3(key.rid + bytes((key.index,)) + key.modulus).hex(),
        )
        for key in ca_keys()
    )  # fmt: skip
    return ChipTable(tuple(AidRecord(aid=aid) for aid in _AIDS), keys, _NO_PIN)


@lru_cache(maxsize=1)
def _ring() -> KeyRing:
    """The keys of the cards of all issues, recovered once a process: what a certificate says differs in no world."""
    return KeyRing(cards_max=ISSUES * CARDS * len(STANDARD_ISSUERS))


class Pockets:
    """One world's hands and readers. `wall` is the terminals' clock in seconds since the epoch, `table` what terminals
    have been told of chips, `most` how many cards may come to be used."""

    def __init__(
        self,
        minter: Minter,
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
        table: ChipTable | None = None,
        most: int = CARDS * len(STANDARD_ISSUERS),
    ) -> None:
        self.hands = Hands(minter, most, entropy)
        self._wall = wall
        self._readers = Readers(table or chip_table(), self._calendar, entropy, _ring())

    def _calendar(self) -> tuple[str, str]:
        moment = time.gmtime(self._wall() + BEIJING_S)
        return time.strftime("%y%m%d", moment), time.strftime("%H%M%S", moment)

    def fit(self, terminal: Terminal, memory: Memory, fresh: bool = False) -> None:
        """Give a terminal or a machine the reader of its model; a `fresh` terminal has downloaded nothing yet."""
        if isinstance(memory, AtmMemory):
            memory.reader = self._readers.of_machine(terminal)
        else:
            self._readers.fit(terminal, memory, fresh)
