"""A switch that answers 00 to everything: what a book of stories has to see through."""

from itertools import count
from typing import Any

from switch.engine.engine import Engine
from switch.machine import Link, Now, Out
from switch.wire.framing import Frame
from switch.wire.message import Message

ALL_IS_WELL = "00"


class YesSwitch(Engine):
    """Keys and downloads are given as ever, so that terminals come in; whatever else they ask is approved unseen, and
    nobody behind the switch hears of it."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._numbers = count(1)

    def _from_terminal(self, link: Link, frame: Frame, message: Message, now: Now, out: Out) -> None:
        if message.mti == "0800":
            super()._from_terminal(link, frame, message, now, out)
            return
        fields = message.fields
        terminal = self.office.books.terminals.get(fields.get(41, ""))
        number = next(self._numbers)
        extra: dict[int, Any] = {37: f"{number:012d}"}
        if message.mti in ("0100", "0200"):
            extra[38] = f"{number % 1_000_000:06d}"
        signed = terminal if terminal is not None and terminal.signed_in else None
        self.office.answer(link, frame, message.mti, fields, ALL_IS_WELL, now, out, extra, terminal=signed)
