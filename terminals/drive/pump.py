"""The loop that interprets a flow, called or awaited; and the card reader, the same under every driver."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from terminals.flow import Apdu, Ask, Call, CardRemoved, Flow, FlowEffect, FlowError, Wait

T = TypeVar("T")

Reader: TypeAlias = Callable[[bytes], bytes]
"""The card in the reader: a command to its response; raises CardRemoved when the card is torn out."""


def pump(flow: Flow[T], perform: Callable[[FlowEffect], Any], reader: Reader | None = None) -> T:
    """Run a flow to its end, every effect through `perform`, and give its result.

    With a `reader` the commands to the card go there. A FlowError of either is thrown into the flow; what the flow does
    not deal with comes out.
    """
    answer: Any = None
    error: FlowError | None = None
    try:
        while True:
            effect = flow.throw(error) if error is not None else flow.send(answer)
            answer, error = None, None
            try:
                if reader is not None and isinstance(effect, Apdu):
                    answer = reader(effect.command)
                else:
                    answer = perform(effect)
            except FlowError as raised:
                error = raised
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()


async def pump_awaiting(
    flow: Flow[T],
    call: Callable[[Call], Awaitable[bytes]],
    beside: Callable[[Ask | Wait | Apdu], Any],
    reader: Reader | None = None,
) -> T:
    """As `pump`, where the host is awaited, and what is not for the host if `beside` gives something to be awaited."""
    answer: Any = None
    error: FlowError | None = None
    try:
        while True:
            effect = flow.throw(error) if error is not None else flow.send(answer)
            answer, error = None, None
            try:
                if reader is not None and isinstance(effect, Apdu):
                    answer = reader(effect.command)
                elif isinstance(effect, Call):
                    answer = await call(effect)
                else:
                    answer = beside(effect)
                    if isinstance(answer, Awaitable):
                        answer = await answer
            except FlowError as raised:
                error = raised
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()


def beside_host(effect: Ask | Wait | Apdu, holder: Callable[[Ask], Any]) -> Any:
    """Perform what is not for the host: ask the person; let time pass; find no card. The answer, or what to await."""
    if isinstance(effect, Ask):
        return holder(effect)
    if isinstance(effect, Wait):
        return asyncio.sleep(effect.seconds)
    raise CardRemoved


def no_card(command: bytes) -> bytes:
    """The empty reader."""
    raise CardRemoved
