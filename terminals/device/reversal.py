"""Putting right what the last dialogue left in doubt, before anything new: the reversal (冲正), or the advice again.

A terminal owes at most one of them. See docs/protocol-pos.md section 8.
"""

from typing import Final

from terminals.device.dialogue import (
    DUPLICATE,
    KEYED,
    NOT_DECIDED,
    SILENCE,
    BadReply,
    Line,
    Outcome,
    ask,
    reason_of,
    record,
    request_fields,
    reversal_fields,
    sealed,
)
from terminals.device.manage import sign_in
from terminals.device.memory import Item, Memory, Pending
from terminals.device.notice import tell_scripts
from terminals.flow import Flow

ORIGINAL_NOT_FOUND: Final = "25"
NO_PIN: Final = "2"
"""DE22, third digit."""


def clear(memory: Memory, line: Line) -> Flow[Outcome | None]:
    """Sign in if need be and put right what is owed; None when the way is free, else the dialogue that failed."""
    if not memory.signed_in:
        outcome = yield from sign_in(memory, line)
        if not outcome.approved:
            return outcome
    if not memory.owes:
        return None
    outcome = yield from put_right(memory, line)
    return outcome if memory.owes else None


def put_right(memory: Memory, line: Line) -> Flow[Outcome]:
    """Send what is owed until it is answered, as often as the profile says; nothing is owed when it was.

    Script results go before the reversal: the issuer decides about a load by them.

    Signs in again where the host asks for it. The outcome is that of the last dialogue.
    """
    outcome = Outcome("reversal", "unsent")
    for _ in range(line.profile.reversal.attempts_max):
        if not memory.owes:
            break
        if not memory.signed_in:
            outcome = yield from sign_in(memory, line)
            if not outcome.approved:
                break
        outcome = yield from tell_scripts(memory, line, outcome)
        pending = memory.pending
        if memory.notices or pending is None or not memory.signed_in:
            continue
        _as_fact(memory, pending)
        outcome = yield from _repeat(memory, line, pending) if pending.repeats else _reverse(memory, line, pending)
    return outcome


def _as_fact(memory: Memory, pending: Pending) -> None:
    """A request that is confirmed instead of reversed becomes its confirmation: an advice with a number of its own."""
    asked = pending.item
    if asked.row.confirmed_by:
        told = Item(
            asked.row.confirmed_by, memory.batch, memory.next_stan(), asked.amount_minor, KEYED + NO_PIN, asked.pan,
            asked.expiry, asked.name(), asked,
        )  # fmt: skip
        memory.items.append(told)
        pending.item = told


def _reverse(memory: Memory, line: Line, pending: Pending) -> Flow[Outcome]:
    item = pending.item
    body = sealed(memory, line, "0400", reversal_fields(memory, line, item, pending.reason))
    pending.tries += 1
    try:
        reply = yield from ask(memory, line, "0400", body, item.stan, mac=True)
    except (*SILENCE, BadReply) as error:
        return Outcome("reversal", "unknown", stan=item.stan, batch=item.batch, reason=reason_of(error), item=item)
    code = reply[39]
    taken = code in line.profile.reversal.accepted
    if taken:
        item.reversal = "refused" if code == ORIGINAL_NOT_FOUND else "done"
        memory.pending = None
    state = "approved" if taken else "declined"
    return Outcome(
        "reversal", state, code, item.stan, item.batch, amount_minor=item.amount_minor, item=item, fields=reply
    )


def _repeat(memory: Memory, line: Line, pending: Pending) -> Flow[Outcome]:
    item = pending.item
    mti = item.row.mti
    fields = request_fields(memory, line, item)
    body = sealed(memory, line, mti, fields)
    pending.tries += 1
    try:
        reply = yield from ask(memory, line, mti, body, item.stan, mac=True, amount=fields[4])
    except (*SILENCE, BadReply) as error:
        return Outcome("advice", "unknown", stan=item.stan, batch=item.batch, reason=reason_of(error), item=item)
    code = reply[39]
    if code in NOT_DECIDED:
        return Outcome("advice", "unknown", code, item.stan, item.batch, item=item, fields=reply)
    record(memory, item, reply)
    if code == DUPLICATE:
        item.state = "approved"  # delivered: the host has it from an earlier try
    return Outcome(
        "advice", item.state, code, item.stan, item.batch, item.rrn, item.auth_code, item.amount_minor, item=item,
        fields=reply,
    )  # fmt: skip
