"""The cash inside a machine: cassettes, what leaves and enters them, and the count that closes a period (清机轧账).

What the mechanics do to the notes and what the book says of them are two things: `Vault` moves notes, and writes only
what its sensors know for certain. The count finds what is really there. See docs/atm.md.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

Notes: TypeAlias = dict[int, int]
"""Denomination in minor units to a number of notes; no entry is nought."""

Event = Literal["loaded", "dispensed", "deposited", "retracted", "rejected", "counted"]

NOTES_MAX: Final = 40
"""The most notes that are paid out, or taken in, at once."""

CAPACITY: Final = 2500
"""Notes a cassette holds."""


class Key(NamedTuple):
    """The transaction that moved the notes: the terminal's batch and STAN, the switch's RRN; empty for custodians."""

    batch: str = ""
    stan: str = ""
    rrn: str = ""


class Movement(NamedTuple):
    """A line of the machine's cash book. `at` is the host's clock, MMDDhhmmss."""

    event: Event
    denomination_minor: int
    notes: int
    key: Key
    at: str


class Fault(NamedTuple):
    """What goes wrong at the next dispensing: the mechanics jam after `after` notes are out.

    none     nothing came out, and the sensors are certain of it
    part     the sensors counted what came out
    unknown  the sensors do not know what came out
    reject   `after` notes are found double and go to the reject bin; others take their place
    """

    kind: Literal["none", "part", "unknown", "reject"]
    after: int = 0


class Dispensed(NamedTuple):
    """How a dispensing ended, and the notes the sensors saw come out (of "unknown": nothing that can be believed)."""

    outcome: Literal["all", "part", "none", "unknown"]
    notes: Notes


@dataclass(slots=True)
class Cassette:
    """Notes of one denomination; one that `recycles` takes deposited notes in and pays them out again."""

    denomination_minor: int
    notes: int = 0
    recycles: bool = False
    capacity: int = CAPACITY


@dataclass(slots=True)
class ErrorRecord:
    """A withdrawal whose cash and booking differ (差错). Amounts in minor units.

    `state`: "open" (only the count will tell), "reported" (the machine knows what came out), "counted" (the count has
    been made). `planned` is what was to come out.
    """

    key: Key
    approved_minor: int
    planned: Notes
    pan_masked: str
    cause: str
    state: Literal["open", "reported", "counted"]
    dispensed_minor: int = 0

    @property
    def difference_minor(self) -> int:
        """What the holder paid and did not get."""
        return self.approved_minor - self.dispensed_minor


class Balance(NamedTuple):
    """What a count found: the notes, and those that neither the book nor a record explains (missing > 0)."""

    counted: Notes
    unexplained: Notes

    @property
    def agrees(self) -> bool:
        return not self.unexplained


def value(notes: Mapping[int, int]) -> int:
    """What some notes are worth, in minor units.

    >>> value({10000: 3, 5000: 1})
    35000
    """
    return sum(denomination * count for denomination, count in notes.items())


def size(notes: Mapping[int, int]) -> int:
    """How many notes there are."""
    return sum(notes.values())


def pick(stock: Mapping[int, int], amount_minor: int, notes_max: int = NOTES_MAX) -> Notes | None:
    """The notes to pay an amount with, large ones first, None where the stock or `notes_max` does not allow it.

    >>> pick({10000: 5, 5000: 1}, 25000)
    {10000: 2, 5000: 1}
    >>> pick({10000: 5, 2000: 3}, 13000) is None
    True
    """
    return _pick(sorted((d for d in stock if stock[d] > 0), reverse=True), stock, amount_minor, notes_max)


def _pick(denominations: list[int], stock: Mapping[int, int], amount: int, most: int) -> Notes | None:
    if amount == 0:
        return {}
    if not denominations or amount < 0 or amount > denominations[0] * most:
        return None
    largest, rest = denominations[0], denominations[1:]
    for count in range(min(amount // largest, stock[largest], most), -1, -1):
        others = _pick(rest, stock, amount - count * largest, most - count)
        if others is not None:
            return {largest: count, **others} if count else others
    return None


@dataclass(slots=True)
class Vault:
    """The cassettes and bins of one machine, and its cash book.

    `faults` are what will go wrong, one a dispensing. `in_service` is false while only a count can tell what is inside.
    `escrow` holds what a depositor has put in and nobody has booked; `box` deposited notes that no cassette recycles.
    """

    cassettes: list[Cassette]
    book: list[Movement] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    in_service: bool = True
    escrow: Notes = field(default_factory=dict)
    box: Notes = field(default_factory=dict)
    reject_bin: Notes = field(default_factory=dict)
    retract_bin: Notes = field(default_factory=dict)

    # what is inside

    @property
    def denominations(self) -> list[int]:
        """All denominations this machine knows, the largest first."""
        return sorted({cassette.denomination_minor for cassette in self.cassettes} | self.box.keys(), reverse=True)

    def stock(self) -> Notes:
        """Notes that can be paid out."""
        stock: Notes = {}
        for cassette in self.cassettes:
            _add(stock, cassette.denomination_minor, cassette.notes)
        return stock

    @property
    def inside_minor(self) -> int:
        """What a custodian would find in the cassettes, the box and the bins."""
        return value(self.stock()) + value(self.box) + value(self.reject_bin) + value(self.retract_bin)

    def expected(self) -> Notes:
        """What the book says is inside: loaded + deposited - dispensed - retracted - rejected since the last count."""
        found: Notes = {}
        for movement in self.book:
            if movement.event == "counted":
                found[movement.denomination_minor] = 0
            else:
                sign = 1 if movement.event in ("loaded", "deposited") else -1
                _add(found, movement.denomination_minor, sign * movement.notes)
        return found

    def plan(self, amount_minor: int) -> Notes | None:
        """The notes for an amount, None where the machine cannot pay it."""
        return pick(self.stock(), amount_minor) if self.in_service and amount_minor > 0 else None

    def nearest(self, amount_minor: int) -> int:
        """The largest amount up to this one that the machine can pay, 0 if none."""
        step = min((d for d, count in self.stock().items() if count), default=0)
        if not step:
            return 0
        for amount in range(amount_minor - amount_minor % step, 0, -step):
            if self.plan(amount) is not None:
                return amount
        return 0

    # custodians

    def load(self, notes: Mapping[int, int], at: str = "") -> None:
        """Fill cassettes (加钞). Raises ValueError for a denomination without a cassette, or more than they hold."""
        for denomination, count in notes.items():
            left = count
            for cassette in self.cassettes:
                if cassette.denomination_minor == denomination:
                    taken = min(left, cassette.capacity - cassette.notes)
                    cassette.notes += taken
                    left -= taken
            if left:
                raise ValueError(f"{left} notes of {denomination} find no room")
            self._write("loaded", {denomination: count}, Key(), at)

    def count(self, errors: Iterable[ErrorRecord], at: str = "") -> Balance:
        """Take everything out and count it (清机轧账): what an open record left unknown is known now.

        Notes that are missing are those an open record's dispensing paid out, as far as it was to pay them; what then
        still differs is unexplained and stays a difference of the books.
        """
        found = dict.fromkeys(self.denominations, 0) | self.stock()
        for denomination, count in self.box.items():
            _add(found, denomination, count)
        missing = {d: n - found.get(d, 0) for d, n in self.expected().items() if n != found.get(d, 0)}
        for record in errors:
            if record.state == "open":
                out = {d: min(n, missing[d]) for d, n in record.planned.items() if missing.get(d, 0) > 0}
                for denomination, count in out.items():
                    missing[denomination] -= count
                record.dispensed_minor = value(out)
                self._write("dispensed", out, record.key, at)
            record.state = "counted"
        for denomination in sorted(found, reverse=True):
            self.book.append(Movement("counted", denomination, found[denomination], Key(), at))
        for cassette in self.cassettes:
            cassette.notes = 0
        self.box, self.reject_bin, self.retract_bin = {}, {}, {}
        self.in_service = True
        return Balance(found, {d: n for d, n in missing.items() if n})

    # paying out

    def dispense(self, planned: Mapping[int, int], key: Key, at: str) -> Dispensed:
        """Move planned notes to the shutter; books what is rejected, but not what comes out (`taken` does)."""
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault.kind == "reject":
            self._reject(planned, fault.after, key, at)
            fault = None
        order = [d for d in sorted(planned, reverse=True) for _ in range(planned[d])]
        if fault is not None:
            after = 0 if fault.kind == "none" else min(fault.after, len(order) - (fault.kind == "part"))
            order = order[:after]
        out: Notes = {}
        for denomination in order:
            self._draw(denomination)
            _add(out, denomination, 1)
        if fault is None:
            return Dispensed("all", out)
        if fault.kind == "unknown":
            self.in_service = False
            return Dispensed("unknown", {})
        return Dispensed("part" if out else "none", out)

    def taken(self, presented: Mapping[int, int], count: int, key: Key, at: str) -> Notes:
        """The customer took `count` of the notes (the largest first), the rest are retracted. What was taken."""
        got: Notes = {}
        back: Notes = {}
        for denomination in sorted(presented, reverse=True):
            mine = min(presented[denomination], max(0, count - size(got)))
            _add(got, denomination, mine)
            _add(back, denomination, presented[denomination] - mine)
        self._write("dispensed", got, key, at)
        self._write("retracted", back, key, at)
        for denomination, notes in back.items():
            _add(self.retract_bin, denomination, notes)
        return got

    def _reject(self, planned: Mapping[int, int], count: int, key: Key, at: str) -> None:
        """Double notes go aside, as many as there are others to take their place."""
        stock = self.stock()
        for denomination in sorted(planned, reverse=True):
            spare = min(count, stock.get(denomination, 0) - planned[denomination])
            for _ in range(spare):
                self._draw(denomination)
            if spare > 0:
                _add(self.reject_bin, denomination, spare)
                self._write("rejected", {denomination: spare}, key, at)
                count -= spare

    def _draw(self, denomination: int) -> None:
        cassette = next(c for c in self.cassettes if c.denomination_minor == denomination and c.notes)
        cassette.notes -= 1

    # taking in

    def accept(self, notes: Mapping[int, int]) -> None:
        """Put a depositor's notes into escrow, counted and not yet anybody's. Raises ValueError beyond NOTES_MAX."""
        if not 0 < size(notes) <= NOTES_MAX:
            raise ValueError(f"between 1 and {NOTES_MAX} notes are taken at once")
        self.escrow = {denomination: count for denomination, count in notes.items() if count}

    def store(self, key: Key, at: str) -> None:
        """The notes in escrow are inside for good: recycled where a cassette has room, else in the box."""
        for denomination, count in self.escrow.items():
            left = count
            for cassette in self.cassettes:
                if cassette.recycles and cassette.denomination_minor == denomination:
                    taken = min(left, cassette.capacity - cassette.notes)
                    cassette.notes += taken
                    left -= taken
            _add(self.box, denomination, left)
        self._write("deposited", self.escrow, key, at)
        self.escrow = {}

    def give_back(self) -> Notes:
        """The notes in escrow go back to the depositor; no book knows of them."""
        notes, self.escrow = self.escrow, {}
        return notes

    def _write(self, event: Event, notes: Mapping[int, int], key: Key, at: str) -> None:
        self.book += [Movement(event, d, notes[d], key, at) for d in sorted(notes, reverse=True) if notes[d]]


def _add(notes: Notes, denomination: int, count: int) -> None:
    if count:
        notes[denomination] = notes.get(denomination, 0) + count
