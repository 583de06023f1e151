"""An issuer's accounts, double entry, in minor units.

Every card has what is available and what is held; every acquirer has a clearing account, on which stands what the
issuer owes it; what the cards began with was drawn from `base_minor`. A movement takes from one side what it gives to
the other, so the sum over all accounts is always nought.
"""

from typing import Final

from switch.issuer.portfolio import Card
from switch.wire.transactions import BY_NAME

E_CASH: Final = "e_cash"


def account_name(pan_hash: str, kind: str, purse: str = "") -> str:
    """The account that a kind moves: the card's money, its points, or the shadow account of its electronic cash.

    A load with cash moves the shadow account; a load out of an account moves that, and the shadow account is its other
    leg. `purse` is "e_cash" for an offline sale paid out of electronic cash.
    """
    row = BY_NAME[kind]
    if purse or (row.chip == "load" and row.effect != "debit"):
        return shadow_name(pan_hash)
    return f"{pan_hash}/points" if row.points else pan_hash


def shadow_name(pan_hash: str) -> str:
    """The shadow account (影子账户) of a card's electronic cash."""
    return f"{pan_hash}/{E_CASH}"


class Account:
    """One card's account, known by the keyed hash of its number, with the counters of one settlement day.

    `opened` is false while only movements are known (after a restart) and not yet what the card began with.
    """

    __slots__ = (
        "assisted_minor",
        "available_minor",
        "count",
        "day",
        "held_minor",
        "opened",
        "pan_hash",
        "pin_reference",
        "spent_minor",
        "tries",
    )

    def __init__(self, pan_hash: str) -> None:
        self.pan_hash = pan_hash
        self.available_minor = 0
        self.held_minor = 0
        self.opened = False
        self.pin_reference = b""
        self.tries = 0
        self.day = ""
        self.spent_minor = 0
        self.assisted_minor = 0
        self.count = 0

    @property
    def balance_minor(self) -> int:
        """The ledger balance: what is available and what is held."""
        return self.available_minor + self.held_minor

    def begin_day(self, day: str) -> None:
        """Wrong PINs and daily totals start anew with each settlement day."""
        if self.day != day:
            self.day = day
            self.tries = 0
            self.spent_minor = 0
            self.assisted_minor = 0
            self.count = 0

    def __repr__(self) -> str:
        return f"Account({self.pan_hash[:8]})"


class Ledger:
    """The accounts of one issuer. They grow with the cards used, which the portfolio bounds."""

    __slots__ = ("accounts", "base_minor", "clearing")

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.clearing: dict[str, int] = {}
        self.base_minor = 0

    def account(self, pan_hash: str) -> Account:
        """The account under this hash, made if there is none."""
        account = self.accounts.get(pan_hash)
        if account is None:
            account = self.accounts[pan_hash] = Account(pan_hash)
        return account

    def open(self, account: Account, card: Card, begins_minor: int | None = None) -> None:
        """Give the account what its card begins with (or `begins_minor`), once."""
        if not account.opened:
            begins_minor = card.balance_minor if begins_minor is None else begins_minor
            account.opened = True
            account.available_minor += begins_minor
            self.base_minor -= begins_minor

    def book(self, account: Account, acquirer: str, posted_minor: int, held_minor: int) -> None:
        """One movement: `posted_minor` from the holder to the acquirer (negative: back), `held_minor` set aside
        (negative: released)."""
        account.available_minor -= posted_minor + held_minor
        account.held_minor += held_minor
        self.clearing[acquirer] = self.clearing.get(acquirer, 0) + posted_minor

    def sum_minor(self) -> int:
        """The sum over all accounts; anything but nought is a fault of this program."""
        cards = sum(account.available_minor + account.held_minor for account in self.accounts.values())
        return cards + sum(self.clearing.values()) + self.base_minor

    def balance_check(self) -> bool:
        """Whether the books balance and no hold is below nought."""
        return self.sum_minor() == 0 and all(account.held_minor >= 0 for account in self.accounts.values())
