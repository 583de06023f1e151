"""What a card remembers when the power is gone: one row of 53 bytes a card, and what few cards need beside it.

A `Wallet` holds the rows of many cards. A card is taken out as `CardState`, used, and put back; each command leaves the
state as the card would keep it, so a card that is torn out is put back as it stands.
"""

import struct
from typing import Final

_ROW: Final = struct.Struct(">BBBBHHBBBQQQQH8s")
ROW_BYTES: Final = _ROW.size

ONLINE_INCOMPLETE: Final = 0x01
"""The last online transaction never saw its second GENERATE AC."""
AUTH_FAILED: Final = 0x02
AUTH_MISSING: Final = 0x04
"""Issuer authentication failed, or did not come although mandatory, in the last online transaction."""
SCRIPT_FAILED: Final = 0x08
SDA_FAILED: Final = 0x10
DDA_FAILED: Final = 0x20
CARD_BLOCKED: Final = 0x40

PIN_TRIES: Final = 3


class Extras:
    """What only few cards have: changed parameters and PIN, rewritten records."""

    __slots__ = ("objects", "pin", "records")

    def __init__(self) -> None:
        self.objects: dict[tuple[int, str], bytes] = {}
        self.records: dict[tuple[int, int], bytes] = {}
        self.pin = ""


class CardState:
    """The lasting memory of one card; amounts in minor units. Its payment applications share it.

    `blocked` has a bit for each application; `flags` are the constants above. `proof` is the TC of the last transaction
    the card completed, `proof_atc` its counter. `trades` and `loads` are the entries of the logs, newest first.
    """

    __slots__ = (
        "atc", "balance", "balance2", "blocked", "country_count", "ctta", "ctta2", "currency_count", "extras", "flags",
        "last_online", "loads", "pin_tries", "proof", "proof_atc", "scripts", "trades",
    )  # fmt: skip

    def __init__(self, balance: int = 0, balance2: int = 0, pin_tries: int = PIN_TRIES) -> None:
        self.blocked = 0
        self.flags = 0
        self.pin_tries = pin_tries
        self.atc = 0
        self.last_online = 0
        self.scripts = 0
        self.currency_count = 0
        self.country_count = 0
        self.ctta = 0
        self.ctta2 = 0
        self.balance = balance
        self.balance2 = balance2
        self.proof_atc = 0
        self.proof = bytes(8)
        self.trades = b""
        self.loads = b""
        self.extras: Extras | None = None

    def more(self) -> Extras:
        """The extras, made at first need."""
        if self.extras is None:
            self.extras = Extras()
        return self.extras

    def pack(self) -> bytes:
        """The row of this state; logs and extras stand apart."""
        return _ROW.pack(
            1, self.blocked, self.flags, self.pin_tries, self.atc, self.last_online, self.scripts, self.currency_count,
            self.country_count, self.ctta, self.ctta2, self.balance, self.balance2, self.proof_atc, self.proof,
        )  # fmt: skip


class Wallet:
    """The states of `cards` cards, `ROW_BYTES` each. A row never put back is a fresh card."""

    __slots__ = ("_extras", "_loads", "_rows", "_trades", "cards")

    def __init__(self, cards: int) -> None:
        self.cards = cards
        self._rows = bytearray(cards * ROW_BYTES)
        self._trades: dict[int, bytes] = {}
        self._loads: dict[int, bytes] = {}
        self._extras: dict[int, Extras] = {}

    def take(self, n: int) -> CardState | None:
        """The state of card `n`, None while it is fresh. Raises IndexError beyond the wallet."""
        if not 0 <= n < self.cards:
            raise IndexError(f"card {n} of {self.cards}")
        row = _ROW.unpack_from(self._rows, n * ROW_BYTES)
        if not row[0]:
            return None
        state = CardState.__new__(CardState)
        (
            _, state.blocked, state.flags, state.pin_tries, state.atc, state.last_online, state.scripts,
            state.currency_count, state.country_count, state.ctta, state.ctta2, state.balance, state.balance2,
            state.proof_atc, state.proof,
        ) = row  # fmt: skip
        state.trades = self._trades.get(n, b"")
        state.loads = self._loads.get(n, b"")
        state.extras = self._extras.get(n)
        return state

    def put(self, n: int, state: CardState) -> None:
        """Keep the state of card `n`."""
        if not 0 <= n < self.cards:
            raise IndexError(f"card {n} of {self.cards}")
        self._rows[n * ROW_BYTES : (n + 1) * ROW_BYTES] = state.pack()
        if state.trades:
            self._trades[n] = state.trades
        if state.loads:
            self._loads[n] = state.loads
        if state.extras is not None:
            self._extras[n] = state.extras

    def balance_minor(self, n: int) -> int | None:
        """The e-cash balance of card `n`, None while it is fresh."""
        state = self.take(n)
        return None if state is None else state.balance
