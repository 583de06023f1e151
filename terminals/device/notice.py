"""What became of an issuer's scripts, told before anything new (0620/951), until it is answered.

See docs/chip-flows.md, Loads.
"""

from typing import Any, Final

from switch.wire.profile import coded
from switch.wire.transactions import NOTICE_CODE
from terminals.device.dialogue import (
    CURRENCY,
    NOT_DECIDED,
    SILENCE,
    BadReply,
    Line,
    Outcome,
    ask,
    original_data,
    reason_of,
    sealed,
)
from terminals.device.memory import Memory, Notice
from terminals.flow import Flow

KIND: Final = "script_notice"
_MTI: Final = "0620"


def tell_scripts(memory: Memory, line: Line, before: Outcome) -> Flow[Outcome]:
    """Send each script result once, the oldest first; one without an answer stops it. The last outcome, or `before`."""
    outcome = before
    while memory.notices and memory.signed_in:
        outcome = yield from _tell(memory, line, memory.notices[0])
        if outcome.state == "unknown":
            break
    return outcome


def _tell(memory: Memory, line: Line, notice: Notice) -> Flow[Outcome]:
    if notice.batch != memory.batch:
        notice.batch, notice.stan = memory.batch, memory.next_stan()
    item = notice.item
    body = sealed(memory, line, _MTI, notice_fields(memory, line, notice))
    notice.tries += 1
    try:
        reply = yield from ask(memory, line, _MTI, body, notice.stan, mac=True)
    except (*SILENCE, BadReply) as error:
        return Outcome(KIND, "unknown", stan=notice.stan, batch=notice.batch, reason=reason_of(error), item=item)
    code = reply[39]
    if code in NOT_DECIDED:
        return Outcome(KIND, "unknown", code, notice.stan, notice.batch, item=item, fields=reply)
    # Whatever else the host says of it, it has been told.
    memory.notices.remove(notice)
    state = "approved" if code == "00" else "declined"
    return Outcome(KIND, state, code, notice.stan, notice.batch, item=item, fields=reply)


def notice_fields(memory: Memory, line: Line, notice: Notice) -> dict[int, Any]:
    """The fields of an 0620, DE64 not among them: DE3 and 25 are the transaction's, DE2 the chip's."""
    item = notice.item
    row, chip = coded(item.row, line.profile), item.chip
    assert chip is not None
    fields: dict[int, Any] = {
        2: chip.pan,
        3: row.processing_code,
        11: notice.stan,
        22: item.entry_mode,
        23: chip.psn,
        25: row.condition,
        41: memory.tid,
        42: memory.mid,
        49: CURRENCY,
        55: notice.data,
        60: "00" + notice.batch + NOTICE_CODE + memory.reads + item.condition,
        61: original_data("", item.name()),
    }
    if row.amount:
        fields[4] = f"{item.amount_minor:012d}"
    if item.rrn:
        fields[37] = item.rrn
    if item.auth_code:
        fields[38] = item.auth_code
    return fields
