"""Which reply belongs to which request on one connection."""

from typing import Final, TypeAlias

from switch.wire.errors import DecodeError
from switch.wire.transactions import reply_mti
from terminals.device.dialogue import Line

Waited: TypeAlias = tuple[str, str | None]
"""MTI and DE11 of the reply that is waited for; DE11 None where the request had none."""

_STAN: Final = (11,)


def waited_for(line: Line, body: bytes) -> Waited:
    """What the reply to this request must carry."""
    head = line.codec.peek(body, _STAN)
    return reply_mti(head[0]), head.get(11)


def fits(line: Line, reply: bytes, waited: Waited) -> bool:
    """Whether a reply is the one that is waited for. One that cannot be read is: the flow has to judge it."""
    try:
        head = line.codec.peek(reply, _STAN)
    except DecodeError:
        return True
    return bool(head[0] == waited[0]) and (waited[1] is None or head.get(11) == waited[1])
