"""Whether a terminal's request may go on: who it is from, whether it is whole, whether it is real, whether it is new.

Each check answers with the response code the field expects, or "" where there is nothing to say against it.
"""

from collections.abc import Iterable
from typing import Any

from switch.engine.books import Terminal
from switch.engine.office import Office
from switch.wire.message import Message
from switch.wire.transactions import CARD

UNKNOWN_TERMINAL, UNKNOWN_MERCHANT, FORMAT_ERROR, WRONG_MAC = "97", "03", "30", "A0"
MUST_SIGN_IN, DUPLICATE, INVALID_AMOUNT, INVALID_TRANSACTION, INVALID_CARD = "77", "94", "13", "12", "14"


def known(office: Office, message: Message) -> tuple[Terminal | None, str]:
    """The terminal a message says it is from, or 30, 97 or 03."""
    tid, mid = message.fields.get(41), message.fields.get(42)
    if tid is None or mid is None:
        return None, FORMAT_ERROR
    terminal = office.books.terminals.get(tid)
    if terminal is None or terminal.status != "active":
        return None, UNKNOWN_TERMINAL
    if terminal.mid != mid:
        return None, UNKNOWN_MERCHANT
    return terminal, ""


def whole(message: Message, mandatory: Iterable[int]) -> str:
    """30 where a mandatory field is absent."""
    fields = message.fields
    return "" if all(de in fields for de in mandatory) else FORMAT_ERROR


def real(office: Office, message: Message, terminal: Terminal) -> str:
    """77 where the terminal has no keys yet, A0 where DE64 is not its MAC over the bytes received."""
    label = f"mak/{terminal.tid}"
    if not terminal.signed_in or label not in office.hsm:
        return MUST_SIGN_IN
    if office.hsm.verify_mac(label, office.mac_algorithm(terminal), message.raw[:-8], message.fields[64]):
        return ""
    office.statistics.mac_failures += 1
    return WRONG_MAC


def in_batch(message: Message, terminal: Terminal) -> str:
    """77 where the message speaks of another batch than the open one, 30 where it speaks of none."""
    batch = batch_of(message)
    if not batch:
        return FORMAT_ERROR
    return "" if batch == terminal.batch_text else MUST_SIGN_IN


def batch_of(message: Message) -> str:
    """DE60.2, "" where DE60 is too short to hold it."""
    batch: str = message.fields[60][2:8]
    return batch if len(batch) == 6 else ""


def amount(fields: dict[int, Any]) -> str:
    """13 for an amount of zero."""
    return INVALID_AMOUNT if int(fields[4]) == 0 else ""


def describes_pin(fields: dict[int, Any]) -> str:
    """30 for a PIN block without a DE53 that says how it is made: it must not be lost on the way."""
    return FORMAT_ERROR if 52 in fields and fields.get(53, "0")[0] not in "12" else ""


def names_card(fields: dict[int, Any]) -> str:
    """30 where neither PAN nor track 2 is present."""
    return "" if any(de in fields for de in CARD) else FORMAT_ERROR
