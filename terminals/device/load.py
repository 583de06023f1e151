"""Loads of electronic cash (圈存): from the card's own account, from another card's, in cash; void and take-up.

Always on the contacts and online. The issuer writes the new balance by a script; `Outcome.balance_minor` is what the
card told afterwards. An outcome "declined" with a reason of the kernel's is reversed before the next transaction; one
"unknown" with the reason "load_doubt" is not: the card left while the script ran, and the item stands in
`Memory.doubts` until a take-up or the issuer settles it. Source: terminal.md 5; practice.md, "Load".
"""

from terminals.device.chip import Seen, insert
from terminals.device.dialogue import Card, Line, Outcome
from terminals.device.memory import Item, Memory
from terminals.flow import Flow


def designated(
    memory: Memory, line: Line, card: Card | None, amount_minor: int, *, seen: Seen | None = None
) -> Flow[Outcome]:
    """From the account of the same card (指定账户圈存), with its PIN."""
    return insert(memory, line, "load_designated", card, amount_minor, seen=seen)


def other(memory: Memory, line: Line, payer: Card, amount_minor: int, *, seen: Seen | None = None) -> Flow[Outcome]:
    """From the account of the `payer`, whose stripe is read and whose PIN is asked (非指定账户圈存)."""
    return insert(memory, line, "load_other", payer, amount_minor, payer=payer, seen=seen)


def cash(
    memory: Memory, line: Line, card: Card | None, amount_minor: int, *, seen: Seen | None = None
) -> Flow[Outcome]:
    """In cash, which the merchant has taken in (现金充值); no PIN."""
    return insert(memory, line, "load_cash", card, amount_minor, seen=seen)


def cash_void(
    memory: Memory, line: Line, card: Card | None, original: Item, *, seen: Seen | None = None
) -> Flow[Outcome]:
    """Void of a cash load of the open batch (现金充值撤销): the script takes the amount off the card again."""
    return insert(memory, line, "load_cash_void", card, original.amount_minor, original, seen=seen)


def take_up(memory: Memory, line: Line, card: Card | None, *, seen: Seen | None = None) -> Flow[Outcome]:
    """A load the card was debited for and never got (圈存补登), unverified: the issuer knows its amount.

    The oldest load of this card that stood in doubt here is settled by it: an issuer tells one at a time.
    """
    outcome = yield from insert(memory, line, "load_takeup", card, seen=seen)
    if outcome.approved and outcome.item is not None and outcome.item.chip is not None:
        pan = outcome.item.chip.pan
        loads = (one for one in memory.doubts if one.row.chip == "load" and one.chip is not None)
        item = next((one for one in loads if one.chip is not None and one.chip.pan == pan), None)
        if item is not None:
            item.state = "approved"
            memory.doubts.remove(item)
    return outcome
