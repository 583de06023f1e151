"""What a flow may yield, and what may go wrong at the yield.

A *flow* is one dialogue: a generator that yields an effect and gets its answer, or an exception, at the yield. Steps
compose with `yield from`; a driver (`terminals/drive`) interprets the effects. A flow is one dialogue, never a life:
what lasts longer stands in `terminals/device/memory.py`.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar


class Call(NamedTuple):
    """Send a request body (MTI to MAC) to the host; the answer is the reply's body.

    Raises TimedOut after `timeout_s`, HostUnreachable when no connection can be had.
    """

    body: bytes
    timeout_s: float


class Ask(NamedTuple):
    """Ask the person at the terminal: `what` is "pin" (answered with digits, or "" to refuse), `about` the card; also
    "new_pin" and "new_pin_again" (digits). May raise Cancelled.

    A chip's dialogue also asks
      "offline_pin"  `about` how many tries are left, None where the card does not tell; answered with digits, "" to
                     refuse, or None where the PIN pad does not work
      "application"  `about` the tuple of names to choose from; answered with its index, or None for none of them
      "holder_id"    `about` type and number of the certificate the holder must show; answered with a bool
      "load_card"    `about` the card that pays: at a machine, its holder takes it and puts in the chip card that is
                     to be loaded; answered with a bool
      "tap_again"    `about` None: the card left too early; answered with a bool, True when a card is there again
    """

    what: str
    about: Any


class Apdu(NamedTuple):
    """Send a command to the card in the reader; the answer is its response, data and status word.

    Raises CardRemoved when no card is there, or is not any more.
    """

    command: bytes


class Wait(NamedTuple):
    """Let time pass."""

    seconds: float


FlowEffect: TypeAlias = Call | Ask | Wait | Apdu
T = TypeVar("T")
Flow: TypeAlias = Generator[FlowEffect, Any, T]


class FlowError(Exception):
    """Something happened to a dialogue that its flow has to deal with."""


class TimedOut(FlowError):
    """No answer within the deadline."""


class HostUnreachable(FlowError):
    """No connection, or it was closed before an answer came."""


class Cancelled(FlowError):
    """The person pressed cancel."""


class CardRemoved(FlowError):
    """The card was taken out, or left the field: the command may have been heard or not."""


class PowerOff(FlowError):
    """The terminal lost power: only its memory survives. Flows do not catch it."""


def through(flow: Flow[T], each: Callable[[FlowEffect], Flow[Any]]) -> Flow[T]:
    """The same dialogue, each of its effects performed by the flow `each` makes of it.

    What `each` returns is the effect's answer; a FlowError out of it is thrown into the dialogue.
    """
    answer: Any = None
    error: FlowError | None = None
    try:
        while True:
            effect = flow.throw(error) if error is not None else flow.send(answer)
            answer, error = None, None
            try:
                answer = yield from each(effect)
            except FlowError as raised:
                error = raised
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()
