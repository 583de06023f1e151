"""In memory: the host is a function, and no time passes."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from terminals.flow import Ask, Call, Flow, FlowError, PowerOff, TimedOut

T = TypeVar("T")

Host: TypeAlias = Callable[[bytes], bytes | None]
"""A request's body to its reply's; None is silence. A FlowError it raises (say HostUnreachable) comes to the flow."""

Holder: TypeAlias = Callable[[Ask], Any]
"""The person at the terminal: an Ask to its answer; may raise Cancelled."""


def run(flow: Flow[T], host: Host, holder: Holder) -> T:
    """Run a dialogue to its end and give its result. PowerOff, and what else the flow does not deal with, come out."""
    answer: Any = None
    error: FlowError | None = None
    try:
        while True:
            effect = flow.throw(error) if error is not None else flow.send(answer)
            answer, error = None, None
            try:
                if isinstance(effect, Call):
                    answer = host(effect.body)
                    if answer is None:
                        error = TimedOut()
                elif isinstance(effect, Ask):
                    answer = holder(effect)
            except FlowError as raised:
                error = raised
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()


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
