"""Chips at the ATM (IC 卡): withdrawal and inquiry on contacts and in the field, loads of electronic cash across banks.

The kernel first, then always the PIN and always the host. On contacts nothing is paid out before the card has said its
last word: one that answers AAC to an approval, or has been torn out, leaves a reversal that goes to the host at once. A
card in the slot is kept where the host says so; one in the field cannot be. See docs/atm.md, Chips;
docs/kernel.md.
"""

from collections.abc import Callable
from typing import Final

from switch.wire.redact import mask_pan
from switch.wire.transactions import BY_NAME
from terminals.device import load
from terminals.device.atm import INQUIRY, WITHDRAWAL, AtmMemory, card_out, pay_out, payable
from terminals.device.chip import authorize, item_of, present
from terminals.device.dialogue import Card, Line, Outcome
from terminals.device.pos import ready
from terminals.device.reader import CONTACT, CONTACTLESS, Clock, Reader
from terminals.device.reversal import put_right
from terminals.flow import Ask, Cancelled, CardRemoved, Flow
from terminals.kernel import contact
from terminals.kernel.parameters import Parameters
from terminals.kernel.session import Kernel, Presented

__all__ = ["CONTACT", "CONTACTLESS", "inquire", "load_designated", "load_other", "reader_of", "withdraw"]

CAPABILITIES: Final = "6040C8"
"""9F33: stripe and contact chip, online PIN and nothing else, SDA, DDA, CDA."""
TERMINAL_TYPE: Final = 14
"""9F35: a bank's, unattended, online only."""
QUALIFIERS: Final = "34000080"
"""9F66: qPBOC, contacts, online PIN; fDDA version 01."""


def reader_of(
    parameters: Parameters, entropy: Callable[[int], bytes], clock: Clock, serial: str = "00000001"
) -> Reader:
    """What a machine reads chips with: goes into its memory's `reader`."""
    kernel = Kernel(
        parameters, entropy, capabilities=CAPABILITIES, terminal_type=TERMINAL_TYPE, additional="8E00B05005",
        ttq=QUALIFIERS, serial=serial,
    )  # fmt: skip
    return Reader(kernel, clock)


def withdraw(
    memory: AtmMemory, line: Line, card: Card, amount_minor: int, *, interface: str = CONTACT
) -> Flow[Outcome]:
    """Withdrawal (取款) with a chip, in the slot or in the field (插卡取款, 挥卡取款); asks as `atm.withdraw` does.

    `card` is whose card it is. An outcome "unsent" or "declined" without a response code has the kernel's reason, or
    "no PIN". Raises ValueError for a machine without reader.
    """
    memory.wake()
    amount = yield from payable(memory, amount_minor)
    if not amount:
        return Outcome(WITHDRAWAL, "unsent", reason="no cash")
    _card_in(memory, card, interface)
    outcome = yield from _transact(memory, line, WITHDRAWAL, card, amount, interface)
    if outcome.approved and outcome.item is not None:
        outcome = yield from pay_out(memory, line, outcome, outcome.item)
    yield from _card_back(memory, card, outcome)
    return outcome


def inquire(memory: AtmMemory, line: Line, card: Card, *, interface: str = CONTACT) -> Flow[Outcome]:
    """Balance inquiry (余额查询) of the account with its chip."""
    memory.wake()
    _card_in(memory, card, interface)
    outcome = yield from _transact(memory, line, INQUIRY, card, 0, interface)
    yield from _card_back(memory, card, outcome)
    return outcome


def load_designated(memory: AtmMemory, line: Line, card: Card, amount_minor: int) -> Flow[Outcome]:
    """Load (指定账户圈存) from the account of the card in the slot, whatever bank has issued it."""
    memory.wake()
    _card_in(memory, card, CONTACT)
    outcome = yield from load.designated(memory, line, card, amount_minor)
    yield from _told(memory, line, outcome)
    yield from _card_back(memory, card, outcome)
    return outcome


def load_other(memory: AtmMemory, line: Line, payer: Card, card: Card, amount_minor: int) -> Flow[Outcome]:
    """Load across banks (跨行圈存): the account of `payer` pays, by its stripe and PIN; the chip `card` is loaded.

    The slot takes one card at a time: the payer's is read and given back, then Ask("load_card") for the other.
    """
    memory.wake()
    _card_in(memory, payer, CONTACT)
    try:
        changed = yield Ask("load_card", payer)
    except Cancelled:
        changed = False
    if changed is not True:
        outcome = Outcome("load_other", "unsent", reason="cancelled")
        yield from card_out(memory, payer, outcome)
        return outcome
    _card_in(memory, card, CONTACT)
    outcome = yield from load.other(memory, line, payer, amount_minor)
    yield from _told(memory, line, outcome)
    # What the host says of the payer's card cannot be done to the one that is inside.
    yield from _card_back(memory, card, outcome._replace(response_code=""))
    return outcome


def _transact(memory: AtmMemory, line: Line, kind: str, card: Card, amount_minor: int, interface: str) -> Flow[Outcome]:
    """The chip, the PIN, the host, the chip again; an approval the card does not go along with is reversed here."""
    reader = memory.reader
    if reader is None:
        raise ValueError("this machine reads no chips")
    obstacle = yield from ready(memory, line)
    if obstacle is not None:
        return Outcome(kind, "unsent", obstacle.response_code, reason=obstacle.kind, fields=obstacle.fields)
    code, number = BY_NAME[kind].processing_code, memory.stan % 999_999 + 1
    request = reader.request(
        code, amount_minor, memory.merchant_name, number, force_online=True, e_cash=False, holder=card
    )
    presented = yield from present(reader, interface, request)
    if presented.outcome != "online":
        state = "declined" if presented.outcome == "declined" else "unsent"
        return Outcome(kind, state, reason=presented.reason or presented.outcome, amount_minor=amount_minor)
    if not (yield from _pin(presented, card)):
        if presented.session is not None:
            yield from contact.complete(presented.session, contact.Answer(None))
        return Outcome(kind, "unsent", reason="no PIN", amount_minor=amount_minor)
    item = item_of(memory, kind, amount_minor, presented)
    outcome = yield from authorize(memory, line, item, presented)
    yield from _told(memory, line, outcome)
    return outcome


def _pin(presented: Presented, card: Card) -> Flow[bool]:
    """A machine asks for the PIN whatever the card says of its holder."""
    if not presented.pin and presented.cvm != "online_pin":
        try:
            presented.pin = (yield Ask("pin", card)) or ""
        except (Cancelled, CardRemoved):
            presented.pin = ""
    return bool(presented.pin)


def _told(memory: AtmMemory, line: Line, outcome: Outcome) -> Flow[None]:
    """What the card did with an approval is told at once: a reversal before anything is paid out, script results."""
    item, pending = outcome.item, memory.pending
    refused = pending is not None and pending.item is item and outcome.state == "declined"
    if refused or (memory.notices and memory.notices[-1].item is item and outcome.state != "approved"):
        yield from put_right(memory, line)


def _card_in(memory: AtmMemory, card: Card, interface: str) -> None:
    memory.card_in = mask_pan(card.pan) if interface == CONTACT else ""


def _card_back(memory: AtmMemory, card: Card, outcome: Outcome) -> Flow[None]:
    """A card in the slot is given back or kept; one in the field never was the machine's."""
    if memory.card_in:
        yield from card_out(memory, card, outcome)
