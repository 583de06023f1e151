"""The ATM and the recycler (CRS): withdrawal, deposit, transfer, inquiry, PIN change; the count of the machine.

What is in doubt stands in memory before the yield at which it may be lost. Nothing came out, and that is certain: the
withdrawal is reversed. Part came out: an error record with the difference, no reversal. Nobody knows: an open record,
and the machine pays nothing until it is counted. A deposit without an answer is confirmed until it stands, never
reversed: the notes are inside. See docs/atm.md, Doubt.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from switch.wire.codes import RESPONSE_CODES
from switch.wire.private_62 import write_transfer_pan
from switch.wire.redact import mask_pan
from terminals.device.cash import Balance, ErrorRecord, Key, Notes, Vault, value
from terminals.device.dialogue import SWIPED, Card, Line, Outcome
from terminals.device.memory import Item, Memory, Pending
from terminals.device.pinpad import PinPad
from terminals.device.pos import ready, transact
from terminals.device.reversal import put_right
from terminals.flow import Ask, Cancelled, Flow, Wait

WITHDRAWAL, DEPOSIT, TRANSFER = "atm_withdrawal", "atm_deposit", "atm_transfer"
INQUIRY, PIN_CHANGE = "atm_inquiry", "atm_pin_change"

UNDECIDED: Final = frozenset(("68", "98"))
"""Answers to a deposit or a PIN change that say nothing of it: the switch itself heard nothing."""

CAPTURE: Final = "D"
"""Action class of the response codes after which the card is kept."""

DISPENSE_S: Final = 4.0
_RECENT: Final = 99


class Dispensing(NamedTuple):
    """Notes on their way to the shutter, for an approved withdrawal."""

    item: Item
    planned: Notes


class Retained(NamedTuple):
    """A card the machine has kept (吞卡)."""

    pan_masked: str
    cause: str
    response_code: str
    at: str


class AtmMemory(Memory):
    """A machine's memory: a terminal's, and what its cash and its card reader were doing.

    `dispensing` stands from before the mechanics move until what came out is known; `undispensed` is the withdrawal of
    which certainly nothing came out, until its reversal is answered; `unconfirmed` the deposit whose confirmation was
    not answered yet; `card_in` the card that is inside, masked.
    """

    __slots__ = (
        "card_in", "dispense_s", "dispensing", "errors", "retained", "unconfirmed", "undispensed", "vault",
    )  # fmt: skip

    def __init__(self, tid: str, mid: str, mcc: str, merchant_name: str, pinpad: PinPad, vault: Vault) -> None:
        super().__init__(tid, mid, mcc, merchant_name, pinpad)
        self.vault = vault
        self.dispensing: Dispensing | None = None
        self.undispensed: Item | None = None
        self.unconfirmed: Item | None = None
        self.card_in = ""
        self.dispense_s = DISPENSE_S
        self.errors: list[ErrorRecord] = []
        self.retained: list[Retained] = []

    @property
    def at(self) -> str:
        """The host's clock when it was last heard, MMDDhhmmss."""
        return "".join(self.clock)

    def wake(self) -> None:
        """Put right what a loss of power left in the machine; nothing to do after a dialogue that ended."""
        vault = self.vault
        if self.dispensing is not None:
            vault.in_service = False
            self.report(self.dispensing.item, self.dispensing.planned, "power lost", known=False)
            self.dispensing = None
        if vault.escrow:
            asked = self._asked()
            if asked is not None:
                vault.store(key_of(asked), self.at)
                self.unconfirmed = asked
            else:
                vault.give_back()
        if self.card_in:
            self.retained.append(Retained(self.card_in, "power lost", "", self.at))
            self.card_in = ""
        self.lapse()

    def _asked(self) -> Item | None:
        """The deposit that was asked for when power was lost, its notes not booked yet; None where none had been."""
        items = reversed([*self.closed[-_RECENT:], *self.items])
        item = next((one for one in items if one.row.confirmed_by), None)
        if item is None or item.state != "unknown":
            return None
        return None if any(line.key[:2] == (item.batch, item.stan) for line in self.vault.book) else item

    def lapse(self) -> None:
        """What the host would not take, a reversal or a confirmation, leaves the holder short of the whole amount."""
        item = self.undispensed
        if item is not None and item.reversal != "pending":
            self.undispensed = None
            if item.reversal == "refused":
                self.report(item, {}, "reversal refused", known=True)
        item = self.unconfirmed
        if item is not None and self.pending is None:
            self.unconfirmed = None
            told = next((i for i in reversed([*self.closed[-_RECENT:], *self.items]) if i.source is item), None)
            if told is None or told.state != "approved":
                self.report(item, {}, "deposit refused", known=True)

    def report(self, item: Item, planned: Notes, cause: str, *, known: bool, dispensed_minor: int = 0) -> None:
        """Write an error record (差错); `known` says that what came out needs no count."""
        self.errors.append(
            ErrorRecord(
                key_of(item), item.amount_minor, planned, mask_pan(item.pan), cause,
                "reported" if known else "open", dispensed_minor,
            )
        )  # fmt: skip

    def keep_card(self, cause: str, response_code: str = "") -> None:
        """Keep the card that is inside."""
        self.retained.append(Retained(self.card_in, cause, response_code, self.at))
        self.card_in = ""


def key_of(item: Item) -> Key:
    """How the cash book names the transaction that moved notes."""
    return Key(item.batch, item.stan, item.rrn)


def balance_machine(memory: AtmMemory, fresh: Mapping[int, int]) -> Balance:
    """Clear the machine (清机轧账): count what is inside, settle open records by it, load `fresh` notes."""
    memory.wake()
    balance = memory.vault.count(memory.errors, memory.at)
    memory.vault.load(fresh, memory.at)
    return balance


# cash out


def withdraw(memory: AtmMemory, line: Line, card: Card, amount_minor: int, *, entry: str = SWIPED) -> Flow[Outcome]:
    """Withdrawal (取款). What the machine cannot pay it does not ask the host for: the customer is offered less.

    Asks "less" (the amount it can pay: answered yes or no), "pin", "cash" (the notes at the shutter: answered with how
    many were taken), "card" (answered False by one who leaves it).
    """
    memory.wake()
    amount = yield from payable(memory, amount_minor)
    if not amount:
        return Outcome(WITHDRAWAL, "unsent", reason="no cash")
    memory.card_in = mask_pan(card.pan)
    outcome = yield from transact(memory, line, WITHDRAWAL, card, amount, entry=entry)
    if outcome.approved and outcome.item is not None:
        outcome = yield from pay_out(memory, line, outcome, outcome.item)
    yield from card_out(memory, card, outcome)
    return outcome


def payable(memory: AtmMemory, amount_minor: int) -> Flow[int]:
    """The amount that is asked for: this one, or what the customer agrees to instead; 0 for none. Asks "less"."""
    if memory.vault.plan(amount_minor) is not None:
        return amount_minor
    offer = memory.vault.nearest(amount_minor)
    if not offer:
        return 0
    try:
        agreed = yield Ask("less", offer)
    except Cancelled:
        return 0
    return offer if agreed else 0


def pay_out(memory: AtmMemory, line: Line, outcome: Outcome, item: Item) -> Flow[Outcome]:
    """Pay out an approved withdrawal; the outcome with what became of it. Asks "cash"."""
    vault, key = memory.vault, key_of(item)
    planned = vault.plan(item.amount_minor)
    if planned is None:  # code 10 approved another amount, and there are no notes for it
        return (yield from _take_back(memory, line, outcome, item))
    memory.dispensing = Dispensing(item, planned)
    yield Wait(memory.dispense_s)
    done = vault.dispense(planned, key, memory.at)
    if done.outcome == "none":
        memory.dispensing = None
        return (yield from _take_back(memory, line, outcome, item))
    if done.outcome == "unknown":
        memory.report(item, planned, "unknown", known=False)
        memory.dispensing = None
        return outcome._replace(reason="unknown")
    count = sum(done.notes.values())
    try:
        answer = yield Ask("cash", done.notes)
    except Cancelled:
        answer = 0
    left = answer if isinstance(answer, int) and not isinstance(answer, bool) else count
    got = vault.taken(done.notes, left, key, memory.at)
    memory.dispensing = None
    if value(got) == item.amount_minor:
        return outcome
    cause = "retracted" if left < count else "partly dispensed"
    memory.report(item, planned, cause, known=True, dispensed_minor=value(got))
    return outcome._replace(reason=cause)


def _take_back(memory: AtmMemory, line: Line, outcome: Outcome, item: Item) -> Flow[Outcome]:
    """Nothing came out for certain: the whole amount is reversed, now or before anything else."""
    memory.undispensed = item
    memory.pending = Pending(item, line.profile.reversal.bad_reply)
    item.reversal = "pending"
    yield from put_right(memory, line)
    memory.lapse()
    return outcome._replace(reason="not dispensed")


# cash in


def deposit(
    memory: AtmMemory, line: Line, card: Card, notes: Mapping[int, int], *, entry: str = SWIPED
) -> Flow[Outcome]:
    """Deposit (存款) of notes that the machine has counted. Without an answer it is confirmed until it stands.

    Raises ValueError for more notes than the machine takes at once.
    """
    memory.wake()
    obstacle = yield from ready(memory, line)
    if obstacle is not None:
        return Outcome(DEPOSIT, "unsent", obstacle.response_code, reason=obstacle.kind, fields=obstacle.fields)
    vault = memory.vault
    vault.accept(notes)
    memory.card_in = mask_pan(card.pan)
    outcome = yield from transact(memory, line, DEPOSIT, card, value(notes), entry=entry)
    item = outcome.item
    doubtful = outcome.state == "unknown" or outcome.response_code in UNDECIDED
    if item is not None and outcome.approved:
        vault.store(key_of(item), memory.at)
    elif item is not None and doubtful:
        outcome = yield from _confirm(memory, line, outcome, item)
    else:
        vault.give_back()
    yield from card_out(memory, card, outcome)
    return outcome


def _confirm(memory: AtmMemory, line: Line, outcome: Outcome, item: Item) -> Flow[Outcome]:
    """The notes are inside: the deposit is told to the host again, as a fact, until it answers."""
    memory.vault.store(key_of(item), memory.at)
    item.state = "unknown"
    memory.pending = Pending(item, line.profile.reversal.no_reply)
    memory.unconfirmed = item
    last = yield from put_right(memory, line)
    memory.lapse()
    return outcome._replace(reason="confirmed" if last.approved else outcome.reason)


# no cash


def inquire(memory: AtmMemory, line: Line, card: Card, *, entry: str = SWIPED) -> Flow[Outcome]:
    """Balance inquiry (余额查询)."""
    return _plain(memory, line, INQUIRY, card, 0, entry)


def transfer(
    memory: AtmMemory, line: Line, card: Card, amount_minor: int, to_pan: str, *, entry: str = SWIPED
) -> Flow[Outcome]:
    """Transfer (转账) to another card."""
    return _plain(memory, line, TRANSFER, card, amount_minor, entry, write_transfer_pan(to_pan))


def change_pin(memory: AtmMemory, line: Line, card: Card, *, entry: str = SWIPED) -> Flow[Outcome]:
    """PIN change (改密). Asks "pin", "new_pin" and "new_pin_again"; nothing is sent where the last two differ, or where
    the new PIN is the old one.

    It is not reversed: without an answer nobody knows which PIN the card has, and the holder tries.
    """
    return _plain(memory, line, PIN_CHANGE, card, 0, entry)


def _plain(
    memory: AtmMemory, line: Line, kind: str, card: Card, amount_minor: int, entry: str, detail: bytes = b""
) -> Flow[Outcome]:
    memory.wake()
    memory.card_in = mask_pan(card.pan)
    outcome = yield from transact(memory, line, kind, card, amount_minor, entry=entry, detail=detail)
    yield from card_out(memory, card, outcome)
    return outcome


def card_out(memory: AtmMemory, card: Card, outcome: Outcome) -> Flow[None]:
    """Give the card back, or keep it where the host says so or nobody takes it."""
    code = RESPONSE_CODES.get(outcome.response_code)
    if outcome.state == "declined" and code is not None and code.action == CAPTURE:
        memory.keep_card("host", outcome.response_code)
        return
    try:
        taken = yield Ask("card", card)
    except Cancelled:
        taken = False
    if taken is False:
        memory.keep_card("not taken")
    memory.card_in = ""
