"""In memory: the host is a function, and no time passes."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from terminals.drive.pump import Reader, no_card, pump
from terminals.flow import Ask, Call, Flow, FlowEffect, PowerOff, TimedOut

T = TypeVar("T")

Host: TypeAlias = Callable[[bytes], bytes | None]
"""A request's body to its reply's; None is silence. A FlowError it raises (say HostUnreachable) comes to the flow."""

Holder: TypeAlias = Callable[[Ask], Any]
"""The person at the terminal: an Ask to its answer; may raise Cancelled."""


def run(flow: Flow[T], host: Host, holder: Holder, reader: Reader = no_card) -> T:
    """Run a dialogue to its end and give its result. PowerOff, and what else the flow does not deal with, come out."""

    def perform(effect: FlowEffect) -> Any:
        if isinstance(effect, Call):
            answer = host(effect.body)
            if answer is None:
                raise TimedOut
            return answer
        return holder(effect) if isinstance(effect, Ask) else None

    return pump(flow, perform, reader)


def cut_at(number: int, host: Host, after: bool = False) -> Host:
    """A host at whose `number`-th call (from 0) power is lost, before it is heard or `after` it was answered."""
    calls = 0

    def cut(body: bytes) -> bytes | None:
        nonlocal calls
        calls += 1
        if calls - 1 != number:
            return host(body)
        if after:
            host(body)
        raise PowerOff

    return cut
