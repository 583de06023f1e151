"""The network's change of day (日切): announced with 201, the banks turn one after another, closed with 202."""

from collections.abc import Iterable, Sequence
from typing import Final

from switch.issuer.envelope import Envelope, transmission_time
from switch.issuer.host import Bank
from switch.issuer.management import Line
from switch.machine import Arm, Now, Out

START: Final = "201"
END: Final = "202"


class CutOver:
    """One change to settlement date `date` (MMDD), from `begin` on over `window_s` seconds.

    Bank number i of n turns after (i + 1)/(n + 1) of the window, so within it some answers carry the old date and some
    the new one.
    """

    def __init__(self, envelope: Envelope, banks: Sequence[Bank], member: str, date: str, window_s: float) -> None:
        self.date = date
        self._envelope = envelope
        self._banks = banks
        self._member = member
        self._window_s = window_s
        self._turns: list[tuple[float, Bank]] = []
        self._end = 0.0

    def begin(self, lines: Iterable[Line], now: Now, out: Out) -> None:
        """Announce it on every line that has signed on."""
        steps = len(self._banks) + 1
        self._turns = [(now.mono + self._window_s * place / steps, bank) for place, bank in enumerate(self._banks, 1)]
        self._end = now.mono + self._window_s
        for line in lines:
            self.announce(line, START, now, out)
        out.append(Arm(self.deadline()))

    def announce(self, line: Line, code: str, now: Now, out: Out) -> None:
        """0820 with 201 or 202 on a line that has signed on."""
        if line.signed_on:
            fields = {
                7: transmission_time(now),
                11: self._envelope.next_stan(),
                15: self.date,
                70: code,
                100: self._member,
            }
            out.append(self._envelope.originate(line.link, "0820", fields))

    def tick(self, lines: Iterable[Line], now: Now, out: Out) -> bool:
        """Turn the banks that are due; True once the change is over."""
        while self._turns and self._turns[0][0] <= now.mono:
            self._turns.pop(0)[1].turn_day(self.date)
        if now.mono < self._end:
            return False
        for bank in self._banks:
            bank.turning = False
        for line in lines:
            self.announce(line, END, now, out)
        return True

    def deadline(self) -> float:
        """When the next step is due."""
        return self._turns[0][0] if self._turns else self._end
