"""What an issuer remembers of each transaction it answered: its key, its answer, and what undid it since.

What a transaction moves is never kept as a running figure. It is read from the states of the entries that belong
together: a sale counts while neither it is reversed nor a void of it stands, a hold while no completion stands, and so
on. A void, a completion or a reversal only changes such a state, and the difference is what is booked. So a void can be
reversed, a reversal repeated, and a hold stand again, without a case of their own.
"""

from typing import Final, NamedTuple

from switch.wire.transactions import BY_NAME, Transaction

KEEP_REPEATS_DAYS: Final = 2
KEEP_ORIGINALS_DAYS: Final = 31
"""Settlement days after which declines are forgotten (nobody repeats them), and after which everything usually is."""


class Key(NamedTuple):
    """A transaction's name on the network link: MTI, DE7, DE11, DE32, DE33."""

    mti: str
    time: str
    stan: str
    acquirer: str
    forwarder: str


class Receiver(NamedTuple):
    """Who is paid by a load or transfer: the bank (institution), the card's keyed hash and its truncated number."""

    institution: str
    pan_hash: str
    pan_masked: str


class Entry:
    """One answered transaction. `original` is what a void, completion, refund, addition or reversal refers to; `void`
    the latest void of this one, `completions` those of a hold, `additions` what was added to it (more on hold, a tip),
    `refunded_minor` what refunds gave back. `receiver` is the other leg of a load or transfer; `purse` is "e_cash"
    where an offline sale was paid out of the chip's electronic cash."""

    __slots__ = (
        "additions",
        "amount_minor",
        "at_ms",
        "auth_code",
        "completions",
        "key",
        "kind",
        "number",
        "original",
        "pan_hash",
        "purse",
        "receiver",
        "refunded_minor",
        "response_code",
        "reversal",
        "reversed",
        "settlement_date",
        "void",
    )

    def __init__(self, key: Key, kind: str, reversal: bool, pan_hash: str, amount_minor: int) -> None:
        self.key = key
        self.kind = kind
        self.reversal = reversal
        self.pan_hash = pan_hash
        self.amount_minor = amount_minor
        self.number = 0
        self.at_ms = 0
        self.settlement_date = ""
        self.response_code = ""
        self.auth_code = ""
        self.original: Entry | None = None
        self.void: Entry | None = None
        self.completions: tuple[Entry, ...] = ()
        self.additions: tuple[Entry, ...] = ()
        self.purse = ""
        self.receiver: Receiver | None = None
        self.refunded_minor = 0
        self.reversed = False

    @property
    def row(self) -> Transaction:
        """Its row of the transaction matrix; of a reversal, that of its original."""
        return BY_NAME[self.kind]

    @property
    def approved(self) -> bool:
        return self.response_code == "00"

    @property
    def stands(self) -> bool:
        """Approved, not reversed, and not undone by a void that stands itself."""
        return self.approved and not self.reversed and (self.void is None or not self.void.stands)

    @property
    def completed(self) -> bool:
        """Whether this hold has a completion that stands."""
        return any(completion.stands for completion in self.completions)

    @property
    def added_minor(self) -> int:
        """What was added to it and stands."""
        return sum(addition.amount_minor for addition in self.additions if addition.stands)

    def __repr__(self) -> str:
        return f"Entry({self.kind} {self.key.time} {self.key.stan} {self.response_code})"


class Movement(NamedTuple):
    """Minor units: `posted` the holder paid, `held` set aside."""

    posted: int
    held: int


NOTHING: Final = Movement(0, 0)


def head_of(entry: Entry) -> Entry:
    """The sale, refund, hold... at whose head an entry belongs."""
    while entry.original is not None and (entry.reversal or entry.row.confirms or not entry.row.heads):
        entry = entry.original
    return entry


def moved_by(head: Entry) -> Movement:
    """What the transactions under a head move at present."""
    if head.reversal:
        # its original never came
        return NOTHING
    if head.row.effect == "hold":
        posted = sum(completion.amount_minor for completion in head.completions if completion.stands)
        held = head.amount_minor + head.added_minor if head.stands and not head.completed else 0
        return Movement(posted, held)
    if not (head.stands and head.row.heads):
        return NOTHING
    return Movement(head.amount_minor * head.row.moves[0], 0)


def approve(entry: Entry) -> Movement:
    """Let an entry take effect (its `original` is set) and return what that moves."""
    head = head_of(entry)
    before = moved_by(head)
    entry.response_code = "00"
    original = entry.original
    if original is not None:
        effect = entry.row.effect
        if entry.reversal:
            original.reversed = True
        elif effect == "capture":
            original.completions += (entry,)
        elif effect == "credit" and not entry.row.confirms:
            original.refunded_minor += entry.amount_minor
        elif effect in ("hold_more", "debit"):
            original.additions += (entry,)
        elif effect == "undo":
            original.void = entry
    after = moved_by(head)
    return Movement(after.posted - before.posted, after.held - before.held)


class Register:
    """Entries by key, holds by card and authorization code, and reversals whose original has not come yet.

    Bounded by days: everything is forgotten after `keep_days` settlement days (1 at least), declines after
    KEEP_REPEATS_DAYS.
    """

    __slots__ = ("_days", "_entries", "_holds", "_keep_days", "_overtaken", "_repeats_days")

    def __init__(self, keep_days: int = KEEP_ORIGINALS_DAYS) -> None:
        self._keep_days = keep_days
        self._repeats_days = min(keep_days, KEEP_REPEATS_DAYS)
        self._entries: dict[Key, Entry] = {}
        self._holds: dict[tuple[str, str], Entry] = {}
        self._overtaken: list[set[Key]] = [set()]
        self._days: list[list[Entry]] = [[]]

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key) -> Entry | None:
        """The entry with this key."""
        return self._entries.get(key)

    def find_hold(self, pan_hash: str, auth_code: str) -> Entry | None:
        """The pre-authorization of this card that was given this authorization code."""
        return self._holds.get((pan_hash, auth_code))

    def overtaken(self, key: Key) -> bool:
        """Whether the reversal of this transaction came before it."""
        return any(key in day for day in self._overtaken)

    def expect(self, original: Key) -> None:
        """Remember that this transaction, never seen, was reversed."""
        self._overtaken[-1].add(original)

    def add(self, entry: Entry) -> None:
        """Keep an entry, answered."""
        self._entries[entry.key] = entry
        self._days[-1].append(entry)
        if entry.row.effect == "hold" and entry.approved and not entry.reversal:
            self._holds[entry.pan_hash, entry.auth_code] = entry

    def turn_day(self) -> None:
        """A new settlement day: forget what is too old to be asked for."""
        self._days.append([])
        self._overtaken = [*self._overtaken[-self._repeats_days :], set()]
        aged = len(self._days) - 1 - self._repeats_days - 1
        if aged >= 0:
            self._days[aged] = [entry for entry in self._days[aged] if not self._pass_over(entry)]
        if len(self._days) > self._keep_days + 1:
            for entry in self._days.pop(0):
                self._drop(entry)

    def _pass_over(self, entry: Entry) -> bool:
        """Drop an entry to which nothing later can refer."""
        if entry.approved and not entry.reversal and entry.row.amount:
            return False
        self._drop(entry)
        return True

    def _drop(self, entry: Entry) -> None:
        self._entries.pop(entry.key, None)
        if self._holds.get((entry.pan_hash, entry.auth_code)) is entry:
            del self._holds[entry.pan_hash, entry.auth_code]
