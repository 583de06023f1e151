"""Settlement (批结算): totals, the upload where host and terminal differ, the end message, the new batch.

Once the totals are answered the batch is frozen until its end message stands: a terminal that lost power goes on where
it was. See docs/protocol-pos.md sections 5, 7 and 8.
"""

from typing import Any, Final, NamedTuple

from switch.wire.errors import DecodeError
from switch.wire.private_pos import (
    DETAILS_MAX,
    Detail,
    EndCount,
    Side,
    read_totals,
    write_48,
    write_details,
    write_totals,
)
from switch.wire.private_pos import Totals as De48Totals
from terminals.device import chipbatch
from terminals.device.dialogue import (
    CURRENCY,
    SILENCE,
    BadReply,
    Line,
    Outcome,
    administration,
    ask,
    plain,
    reason_of,
    request_fields,
)
from terminals.device.manage import sign_in, sign_off
from terminals.device.memory import Item, Memory, Settling
from terminals.device.reversal import clear
from terminals.device.upload import deliver
from terminals.flow import Flow

TOTALS, DETAIL, END_UNBALANCED, END_BALANCED = "201", "201", "202", "207"
DOMESTIC: Final = "00"
BUSY: Final = frozenset(("68", "91", "96", "98"))
"""The host could not look: the message is sent again."""


class Upload(NamedTuple):
    """One message of the batch upload; `stan` is "" where it takes a number of its own."""

    fields: dict[int, Any]
    stan: str = ""


def settle(memory: Memory, line: Line) -> Flow[Outcome]:
    """Settle the open batch and sign off; a settlement that was interrupted is finished.

    "approved" with reason "balanced" or "unbalanced" when the batch is closed. "declined": the host refused the
    totals, the batch stays open. "unknown": no answer; after the totals were answered the batch stays frozen.
    """
    frozen = memory.settling is not None
    obstacle = yield from clear(memory, line)
    if obstacle is not None:
        return Outcome("settlement", "unsent", obstacle.response_code, reason=obstacle.kind, fields=obstacle.fields)
    if memory.settling is None:
        if frozen:
            return _closed_by_host(memory)
        held = yield from _deliver(memory, line)
        if held is not None:
            return held
        outcome = yield from _totals(memory, line)
        if memory.settling is None:
            return outcome
    return (yield from _upload(memory, line, memory.settling))


def _deliver(memory: Memory, line: Line) -> Flow[Outcome | None]:
    """What chips decided by themselves must be with the host before the totals; None when it is."""
    if not memory.offline:
        return None
    held = yield from deliver(memory, line)
    if held is None:
        held = yield from clear(memory, line)
    if held is None:
        return None
    return Outcome("settlement", "unsent", held.response_code, reason=held.kind, fields=held.fields)


def _closed_by_host(memory: Memory) -> Outcome:
    """The sign-in brought another batch: the end message had arrived, only its answer had not."""
    return Outcome("settlement", "approved", "00", batch=memory.batch, reason="closed by host")


def _totals(memory: Memory, line: Line) -> Flow[Outcome]:
    stan = memory.next_stan()
    ours = memory.totals()
    fields = administration(memory, TOTALS) | {
        11: stan,
        48: write_totals(De48Totals(Side(*ours))),
        49: CURRENCY,
        63: line.operator,
    }
    batch = memory.batch
    try:
        reply = yield from ask(memory, line, "0500", plain(line, "0500", fields), stan)
        if reply[39] != "00":
            return Outcome("settlement", "declined", reply[39], stan, batch, totals=ours, fields=reply)
        domestic, foreign = read_totals(reply.get(48, ""))
    except (*SILENCE, BadReply) as error:
        return Outcome("settlement", "unknown", "", stan, batch, reason=reason_of(error), totals=ours)
    except DecodeError:
        return Outcome("settlement", "unknown", "", stan, batch, reason="bad reply", totals=ours)
    balanced = domestic.result == 1 and foreign.result in (0, 1)
    memory.settling = Settling("1" if balanced else "2")
    return Outcome("settlement", "approved", "00", stan, batch, totals=ours, fields=reply)


def uploads(memory: Memory, line: Line, balanced: bool) -> list[Upload]:
    """All messages after the totals, in their order: stripe details by eights, refunds and offline sales, what chips
    certified online, what they declined, the end with its count. A balanced batch has only the chips' own."""
    items = [item for item in memory.items if item.counts]
    chips = chipbatch.online_details(items) + chipbatch.notices(memory.items)
    told = {id(item) for item in chips}
    items = [] if balanced else [item for item in items if id(item) not in told]
    notices = [item for item in items if item.row.advice]
    details = [item for item in items if not item.row.advice]
    messages = [Upload(_details(memory, details[at : at + DETAILS_MAX])) for at in range(0, len(details), DETAILS_MAX)]
    messages += [Upload(_advice_again(memory, line, item), item.stan) for item in notices]
    messages += [Upload(chipbatch.fields(memory, item, balanced), item.stan) for item in chips]
    items = items + chips
    end = END_BALANCED if balanced else END_UNBALANCED
    messages.append(Upload(administration(memory, end) | {48: write_48(EndCount(len(items)))}))
    return messages


def _advice_again(memory: Memory, line: Line, item: Item) -> dict[int, Any]:
    """An advice as it was; of a chip's the third digit of DE22 is 0."""
    fields = request_fields(memory, line, item)
    return fields if item.chip is None else fields | {22: item.entry_mode[:2] + "0"}


def _details(memory: Memory, items: list[Item]) -> dict[int, Any]:
    rows = [Detail(DOMESTIC, item.stan, item.pan, item.amount_minor) for item in items]
    return administration(memory, DETAIL) | {48: write_details(rows)}


def _upload(memory: Memory, line: Line, settling: Settling) -> Flow[Outcome]:
    totals, batch = memory.totals(), memory.batch
    verdict = "balanced" if settling.result == "1" else "unbalanced"
    messages = uploads(memory, line, settling.result == "1")
    failures, sign_ins, code, reason = 0, 0, "", verdict
    while settling.step < len(messages):
        if max(failures, sign_ins) >= line.profile.reversal.attempts_max:
            return Outcome("settlement", "unknown", code, settling.stan, batch, reason=reason, totals=totals)
        message = messages[settling.step]
        # The number stays in memory: the same message again is the same message.
        settling.stan = settling.stan or message.stan or memory.next_stan()
        body = plain(line, "0320", message.fields | {11: settling.stan})
        try:
            reply = yield from ask(memory, line, "0320", body, settling.stan)
        except (*SILENCE, BadReply) as error:
            failures, reason = failures + 1, reason_of(error)
            continue
        code = reply[39]
        if not memory.signed_in:
            outcome = yield from sign_in(memory, line)
            if memory.settling is not settling:
                return _closed_by_host(memory)
            # A host that forgot the sign-in may have forgotten the details as well: all of them again.
            settling.step, settling.stan, sign_ins = 0, "", sign_ins + 1
            reason = verdict if outcome.approved else "sign_in"
        elif code in BUSY:
            failures += 1
        else:
            settling.step, settling.stan, failures, reason = settling.step + 1, "", 0, verdict
    memory.close_batch()
    yield from sign_off(memory, line)
    return Outcome("settlement", "approved", code, "", batch, reason=verdict, totals=totals)
