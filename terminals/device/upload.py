"""What chips decided by themselves, brought to the host (脱机消费上送): certificates of sales, and declines.

Each is kept until the host answers 00 or 94 for it; what it will not take goes to the list of the refused. See
docs/chip-flows.md, "Decisions of the card".
"""

from sys import intern
from typing import Any, Final

from switch.wire.transactions import APPROVED
from terminals.device.dialogue import (
    DUPLICATE,
    NOT_DECIDED,
    SILENCE,
    BadReply,
    Line,
    Outcome,
    ask,
    reason_of,
    request_fields,
    sealed,
)
from terminals.device.manage import sign_in
from terminals.device.memory import Item, Memory
from terminals.flow import Flow

UPLOADS_EACH: Final = 1
"""Certificates that go before one new transaction."""


def deliver(memory: Memory, line: Line, most: int = 0) -> Flow[Outcome | None]:
    """Upload what is held, the oldest first, `most` of them (0: all); None when as many were taken or refused.

    Signs in where need be. The first one without an answer ends it, as often as the profile repeats: its outcome.
    """
    left = most or len(memory.offline)
    failures, outcome = 0, None
    while left > 0 and memory.offline:
        if not memory.signed_in:
            outcome = yield from sign_in(memory, line)
            if not outcome.approved:
                return outcome
        outcome = yield from _send(memory, line, memory.offline[0])
        if outcome.state != "unknown":
            left, failures = left - 1, 0
            continue
        failures += 1
        if most or failures >= line.profile.reversal.attempts_max:
            return outcome
    return None


def _send(memory: Memory, line: Line, item: Item) -> Flow[Outcome]:
    if item.batch != memory.batch:
        # The host has closed the batch it was made in: it knows a certificate by card and count, not by this number.
        item.batch, item.stan = memory.batch, memory.next_stan()
    mti = item.row.mti
    fields = request_fields(memory, line, item)
    body = sealed(memory, line, mti, fields)
    try:
        reply = yield from ask(memory, line, mti, body, item.stan, mac=True, amount=fields[4])
    except (*SILENCE, BadReply) as error:
        return Outcome("upload", "unknown", stan=item.stan, batch=item.batch, reason=reason_of(error), item=item)
    code = reply[39]
    if code in NOT_DECIDED:
        return Outcome("upload", "unknown", code, item.stan, item.batch, item=item, fields=reply)
    _answered(memory, item, code, reply)
    state = "approved" if item not in memory.refused else "declined"
    return Outcome(
        "upload", state, code, item.stan, item.batch, item.rrn, amount_minor=item.amount_minor, item=item, fields=reply
    )


def _answered(memory: Memory, item: Item, code: str, reply: dict[int, Any]) -> None:
    """A definite answer: the certificate is the host's, or on the list of the refused."""
    memory.offline.remove(item)
    item.rrn = reply.get(37, "").rstrip()
    item.auth_code = reply.get(38, "").rstrip()
    item.settlement_date = intern(reply.get(15, ""))
    item.institutions = intern(reply.get(44, ""))
    taken = code in APPROVED or code == DUPLICATE
    if item.state == "offline":
        item.state = "approved" if taken else "declined"
        item.response_code = intern(code)
    if not taken:
        memory.refused.append(item)
