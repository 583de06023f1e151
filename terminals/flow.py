"""What a flow may yield, and what may go wrong at the yield.

A *flow* is one dialogue: a generator that yields an effect and gets its answer, or an exception, at the yield. Steps
compose with `yield from`; a driver (`terminals/drive`) interprets the effects. A flow is one dialogue, never a life:
what lasts longer stands in `terminals/device/memory.py`.
"""

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar


class Call(NamedTuple):
    """Send a request body (MTI to MAC) to the host; the answer is the reply's body.

    Raises TimedOut after `timeout_s`, HostUnreachable when no connection can be had.
    """

    body: bytes
    timeout_s: float


class Ask(NamedTuple):
    """Ask the person at the terminal: `what` is "pin" (answered with digits, or "" to refuse), `about` the card."""

    what: str
    about: Any


class Wait(NamedTuple):
    """Let time pass."""

    seconds: float


FlowEffect: TypeAlias = Call | Ask | Wait
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


class PowerOff(FlowError):
    """The terminal lost power: only its memory survives. Flows do not catch it."""
