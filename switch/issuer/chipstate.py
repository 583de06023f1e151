"""What an issuer knows of one chip, and what one message adds to it: state, reading, and the events that are rows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from switch.crypto.cardkeys import Chip as ChipKeys
from switch.issuer.chipdata import PIN_TRIES_EXCEEDED, ChipData
from switch.issuer.commands import Orders
from switch.issuer.loads import Load, Seen

if TYPE_CHECKING:
    from switch.issuer.chips import Chips

EVENTS: Final = (
    "online",  # an ARQC that verified, whatever was then decided
    "refused",  # an ARQC or a counter that is not right; detail: why
    "offline",  # a TC accepted
    "declined",  # an offline decline (AAC) uploaded: no money
    "forged",  # a TC that does not verify
    "replay",  # a TC whose counter has paid before
    "load",  # the command to write a new balance has gone out with the answer
    "take_up",  # the same once more, for a load that the chip missed
    "load_written",
    "load_unwritten",
    "load_doubt",
    "load_reversed",
    "notice",  # script results of a 0620
    "script",  # an order for the chip: ordered, sent, done, failed
)
"""What a row of the CHIPS table may tell."""


class Chip:
    """What an issuer knows of one card's chip: its counter (-1: never seen), that of its last online transaction, the
    counters that have paid offline, its loads, its shadow account, and what it is to be told."""

    __slots__ = ("atc", "loads", "online_atc", "orders", "pan_masked", "ref", "shadow_minor", "used")

    def __init__(self, ref: str, pan_masked: str, shadow_minor: int) -> None:
        self.ref = ref
        self.pan_masked = pan_masked
        self.shadow_minor = shadow_minor
        self.atc = -1
        self.online_atc = -1
        self.used: set[int] = set()
        self.loads: list[Load] = []
        self.orders = Orders()

    def moved(self, atc: int, spent_minor: int, seen: Seen | None) -> Iterator[tuple[Load, str]]:
        """The chip has made a transaction; the loads that this decides, each with what became of it."""
        self.atc = max(self.atc, atc)
        for load in self.loads:
            load.spent(atc, spent_minor)
            if seen is not None:
                load.sight(seen)
            found = load.decided()
            if found:
                load.state = found
                yield load, found

    def __repr__(self) -> str:
        return f"Chip({self.ref} atc {self.atc})"


class Note(NamedTuple):
    """One event, before it is a row."""

    event: str
    atc: int = 0
    amount_minor: int = 0
    load: Load | None = None
    detail: str = ""
    balance_minor: int = -1


class Reading:
    """One message with a chip's data: what was read, what it led to, what is written down of it."""

    __slots__ = (
        "balance_max_minor", "chip", "chips", "contact", "data", "keys", "load", "new_balance_minor", "notes",
        "told_minor", "verified",
    )  # fmt: skip

    def __init__(self, chips: "Chips", chip: Chip) -> None:
        self.chips = chips
        self.chip = chip
        self.contact = False
        self.data: ChipData | None = None
        self.keys: ChipKeys | None = None
        self.verified = False
        self.told_minor = -1
        self.balance_max_minor = 0
        self.load: Load | None = None
        self.new_balance_minor = -1
        self.notes: list[Note] = []

    @property
    def tries_exceeded(self) -> bool:
        """Whether the chip's PIN has been tried too often."""
        return self.data is not None and bool(self.data.iad.cvr & PIN_TRIES_EXCEEDED)

    def note(self, event: str, **more: Any) -> None:
        """Write an event down; the counter and the balance told are this message's unless given."""
        if self.data is not None:
            more = {"atc": self.data.atc, "balance_minor": self.told_minor, **more}
        self.notes.append(Note(event, **more))

    def __repr__(self) -> str:
        return f"Reading({self.chip!r})"
