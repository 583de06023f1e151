"""A connection that carries terminals of several merchants (集中器, a concentrator): each frame goes to its worker.

The socket stays with the worker its first frame named. A later frame of another worker's merchant travels through the
parent to that worker, which sees a link like any other, and its answer travels back. What goes the straight way is of a
terminal that is known here; only the merchant of the rest is looked at.
"""

from collections.abc import Callable
from typing import Any

from switch.engine.engine import Engine
from switch.machine import Link, Now, Out, Send
from switch.net.perform import Performer
from switch.wire.errors import DecodeError
from switch.wire.framing import Frame, Framing
from switch.wire.roster import owner

Say = Callable[[dict[str, Any]], None]
_MERCHANT = (42,)


class Far:
    """A connection that another worker holds, to the performer a protocol like others."""

    __slots__ = ("_gone", "_say", "_where", "framing", "link")

    def __init__(self, framing: Framing, where: tuple[int, int], say: Say, gone: Callable[["Far"], None]) -> None:
        self.framing = framing
        self.link = Link(where[1])
        self._where = where
        self._say = say
        self._gone = gone

    def write(self, data: bytes) -> None:
        """Give finished bytes to the worker that holds the socket."""
        place, number = self._where
        self._say({"to": place, "answer": number, "data": data})

    def close(self) -> None:
        """Nothing more is said to this link; the socket itself is not ours to close."""
        self.link.closed = True
        self._gone(self)


class Relay:
    """The engine of one worker, which passes on the frames of others' merchants. A machine; `performer` is set by
    whoever makes it."""

    def __init__(self, engine: Engine, framing: Framing, say: Say) -> None:
        self.performer: Performer | None = None
        self._machine = machine = engine.hsm_queue or engine
        engine.elsewhere = self._pass_on
        self.receive = machine.receive
        self.tick = machine.tick
        self.link_up = machine.link_up
        self.receive_bad = machine.receive_bad
        self._codec = engine.office.codec
        self._framing = framing
        self._say = say
        self._share = engine.office.books.share
        self._near: dict[int, tuple[Link, set[int]]] = {}
        self._far: dict[tuple[int, int], Far] = {}

    def _pass_on(self, link: Link, frame: Frame) -> bool:
        """Send another worker's frame to it; False for one of ours."""
        place = self._owner(frame)
        if place == self._share.place:
            return False
        _, places = self._near.setdefault(link.generation, (link, set()))
        places.add(place)
        self._say({"to": place, "frame": list(frame), "link": link.generation})
        return True

    def _owner(self, frame: Frame) -> int:
        """Whose a frame is; one that does not say is refused here."""
        try:
            mid = self._codec.peek(frame.body, _MERCHANT).get(42)
        except DecodeError:
            return self._share.place
        return self._share.place if mid is None else owner(mid, self._share.of)

    def link_down(self, link: Link, now: Now, out: Out) -> None:
        """The socket is gone: whoever had frames of it is told."""
        known = self._near.get(link.generation)
        if known is not None and known[0] is link:
            del self._near[link.generation]
            for place in known[1]:
                self._say({"to": place, "left": link.generation})
        self._machine.link_down(link, now, out)

    # what other workers say

    def heard(self, message: dict[str, Any]) -> None:
        """A frame of a socket that another worker holds, an answer for one of ours, or that such a socket is gone."""
        performer, place = self.performer, int(message["from"])
        assert performer is not None
        if "frame" in message:
            performer.frames(self._met(place, int(message["link"])), [Frame(*message["frame"])])  # type: ignore[arg-type]
        elif "answer" in message:
            known = self._near.get(int(message["answer"]))
            if known is not None:
                frame = self._framing.unwrap(message["data"])
                send = Send(known[0], frame.body, frame.header, frame.tpdu)
                performer.call(lambda now, out: out.append(send))
        elif "left" in message:
            self._leave(place, int(message["left"]))

    def gone(self, place: int) -> None:
        """Another worker has died, and with it its sockets."""
        for held, number in [where for where in self._far if where[0] == place]:
            self._leave(held, number)

    def _met(self, place: int, number: int) -> Far:
        far = self._far.get((place, number))
        if far is None:
            far = self._far[place, number] = Far(self._framing, (place, number), self._say, self._forget)
            assert self.performer is not None
            self.performer.connected(far)  # type: ignore[arg-type]
        return far

    def _leave(self, place: int, number: int) -> None:
        far = self._far.get((place, number))
        if far is not None:
            far.close()

    def _forget(self, far: Far) -> None:
        """As with a socket, the performer hears of it when it has done what it is doing."""
        self._far = {where: one for where, one in self._far.items() if one is not far}
        assert self.performer is not None
        self.performer.loop.call_soon(self.performer.disconnected, far)  # type: ignore[arg-type]
