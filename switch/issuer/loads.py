"""Loads (圈存): what is known of whether the issuer's command to write the new balance reached the chip.

Nobody is refunded by guess. A load is *sent* when its answer leaves; a script result says that it is *written* or
*unwritten*; a reversal without a script result leaves it in *doubt*. Both the sent and the doubtful are decided when
the chip is seen again, by the balance it tells under its own MAC. An unwritten load waits to be taken up (补登).
"""

from typing import Final, Literal, NamedTuple

from switch.issuer.commands import load_id
from switch.issuer.register import Key

State = Literal["sent", "doubt", "written", "unwritten", "reversed"]

OPEN: Final = frozenset(("sent", "doubt", "unwritten"))
"""States in which the shadow account holds money that the chip may not have."""
UNDECIDED: Final = frozenset(("sent", "doubt"))


class Seen(NamedTuple):
    """A chip seen again: its counter, the balance it told, and whether (contact only) it says that the commands of its
    last online transaction were carried out: None where it does not say."""

    atc: int
    balance_minor: int
    scripted: bool | None = None


class Load:
    """One load (with a negative amount, the void of one). `before_minor` is the balance the chip told when it asked.

    `sent_by` is the request whose answer carried the command last. `later` are the transactions of the chip since then,
    by counter, with what each took from the purse; `seen` is the earliest sight of the chip since, which leaves the
    least unknown in between.
    """

    __slots__ = (
        "amount_minor", "atc", "before_minor", "key", "later", "number", "rrn", "seen", "sent_by", "settlement_date",
        "state",
    )  # fmt: skip

    def __init__(self, key: Key, rrn: str, atc: int, amount_minor: int, before_minor: int, date: str) -> None:
        self.key = self.sent_by = key
        self.number = 0
        self.rrn = rrn
        self.atc = atc
        self.amount_minor = amount_minor
        self.before_minor = before_minor
        self.settlement_date = date
        self.state: State = "sent"
        self.later: dict[int, int] = {}
        self.seen: Seen | None = None

    def __repr__(self) -> str:
        return f"Load({self.key.time} {self.key.stan} {self.state})"

    @property
    def script_id(self) -> bytes:
        """What names its command in 9F18 and in DF31."""
        return load_id(self.atc)

    @property
    def after_minor(self) -> int:
        """The balance that the command writes."""
        return self.before_minor + self.amount_minor

    def again(self, key: Key, atc: int, before_minor: int) -> None:
        """The command is sent once more, in another transaction of the chip."""
        self.sent_by, self.atc, self.before_minor = key, atc, before_minor
        self.state, self.seen = "sent", None
        self.later.clear()

    def spent(self, atc: int, amount_minor: int) -> None:
        """The chip has made a transaction, offline with what it took, or online with nought."""
        if atc > self.atc and self.state in UNDECIDED:
            self.later[atc] = amount_minor

    def sight(self, seen: Seen) -> None:
        """The chip has told its balance."""
        if seen.atc > self.atc and (self.seen is None or seen.atc < self.seen.atc):
            self.seen = seen

    def decided(self) -> Literal["", "written", "unwritten"]:
        """What the chip's balance proves; "" while it proves nothing.

        The balance told and what is known to have been spent since come to what the chip had after the load, or to
        less where a counter is missing in between. If both outcomes fit, the chip's own word on scripts counts.
        """
        if self.seen is None or self.state not in UNDECIDED:
            return ""
        known = [spent for atc, spent in self.later.items() if atc <= self.seen.atc]
        had = self.seen.balance_minor + sum(known)
        complete = len(known) == self.seen.atc - self.atc
        fits = [minor == had if complete else minor >= had for minor in (self.after_minor, self.before_minor)]
        if fits == [True, False]:
            return "written"
        if fits == [False, True]:
            return "unwritten"
        if all(fits) and self.seen.scripted is not None:
            return "written" if self.seen.scripted else "unwritten"
        return ""
