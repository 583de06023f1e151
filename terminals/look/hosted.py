"""The same card through a running switch: the terminal's own dialogue, with a look at what its kernel saw."""

from dataclasses import replace
from typing import Any, Final

from switch.wire import codes, tlv
from switch.wire.errors import TlvError
from switch.wire.transactions import BY_NAME
from terminals.device import chip, pos
from terminals.device.dialogue import Line, Outcome
from terminals.device.memory import Memory
from terminals.device.reader import Reader as Desk
from terminals.drive.blocking import Session
from terminals.flow import Flow
from terminals.kernel.contact import Completed
from terminals.kernel.session import CONTACT, Presented
from terminals.look.glass import Order, Taken, seat, verify
from terminals.look.opened import hidden, many, note

KINDS: Final = tuple(
    sorted(
        row.name
        for row in BY_NAME.values()
        if row.carries_icc and not row.original and not row.chip and not row.name.startswith("atm_")
    )
)
"""The transactions of the matrix that begin with a chip and need nothing before them."""


_OFFLINE: Final = {
    "Y1": ("卡片脱机批准, 证书已上送", "approved by the card; its certificate is uploaded"),
    "Y3": ("不能联机, 卡片批准, 证书已上送", "no line, approved by the card; its certificate is uploaded"),
    "Z1": ("脱机拒绝", "declined offline"),
    "Z3": ("不能联机, 拒绝", "no line, declined"),
}
_REFUSED: Final = ("主机不收这个证书", "the host refused the certificate")


class NotSent(Exception):
    """The card was never asked: the terminal could not sign in, or owes something; the text says what."""


def look_through(order: Order, kind: str, memory: Memory, line: Line, session: Session) -> Taken:
    """Do the transaction as a terminal of the switch. What it owes afterwards is put right before this returns.

    Raises CardFault; NotSent; EncodeError for an amount no message carries.
    """
    icc, kernel, reader, holder = seat(order)
    request = order.request
    small = request.small_max if request.enrolled else 0
    memory.reader = Desk(
        kernel, lambda: (request.date, request.time), small_max=small, small_bins=(order.chosen.issued.pan[:6],)
    )  # fmt: skip
    before = icc.state.balance
    seen: list[Presented | Completed] = []
    marks: list[int] = []

    def look(what: Presented | Completed) -> None:
        # What the kernel goes on in is the same mapping: what was presented is kept as it was.
        seen.append(replace(what, values=dict(what.values)))
        marks.append(len(reader.said))

    flow = chip.insert if order.interface == CONTACT else chip.tap
    outcome = session.run(
        flow(
            memory, line, kind, None, request.amount_minor,
            e_cash=request.e_cash, force_online=request.force_online, seen=look,
        ),
        holder, reader,
    )  # fmt: skip
    if not seen or not isinstance(seen[0], Presented):
        raise NotSent(f"{outcome.reason or outcome.state} {outcome.response_code}".strip())
    taken = Taken(order, kernel, reader.said, seen[0], holder.asked, before, icc.state.balance, marks[0])
    taken.decision = reader.decision
    verify(taken)
    taken.completed = next((one for one in seen if isinstance(one, Completed)), None)
    owed: Outcome | None = session.run(_put_right(memory, line), holder)
    taken.host = _told(outcome, owed, memory)
    return taken


def _put_right(memory: Memory, line: Line) -> Flow[Outcome | None]:
    """A reversal, a script's result, a certificate: this terminal will not be there to send them later."""
    return (yield from pos.ready(memory, line))


def _told(outcome: Outcome, owed: Outcome | None, memory: Memory) -> dict[str, Any]:
    """What the host said: DE39 with its meaning, reference numbers, DE55; and what the terminal still owes."""
    code = outcome.response_code
    meaning = _OFFLINE.get(code) or (codes.response(code)[:2] if len(code) == 2 else ("", ""))
    if outcome.item is not None and outcome.item in memory.refused:
        meaning = _REFUSED
    field55 = (outcome.fields or {}).get(55, b"")
    return {
        "kind": outcome.kind,
        "tid": memory.tid,
        "state": outcome.state,
        "reason": outcome.reason,
        "arc": code,
        "text": note(*meaning),
        "stan": outcome.stan,
        "rrn": outcome.rrn,
        "auth_code": outcome.auth_code,
        "field55": _opened(field55),
        "open": owed.kind if owed is not None else "",
    }


def _opened(field55: bytes) -> list[dict[str, Any]]:
    try:
        return many(tlv.read(field55))
    except TlvError:
        return [{"tag": "", "zh": "未能展开", "en": "not opened", "value": hidden("55", field55)}]
