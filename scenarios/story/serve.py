"""The house as a host for real terminals: a story says what somebody does at them, and every step is judged as it
arrives.

Switch, network and core are those of the virtual house with the story's rules and faults, but the clock is the wall's,
and the terminals are whoever connects. What terminal and card think cannot be seen from here.
"""

import selectors
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from scenarios.story.booth import Act
from scenarios.story.casting import Troupe, cast
from scenarios.story.perform import Player
from scenarios.story.reading import Story
from scenarios.story.shape import Block
from scenarios.story.stage import CannotPlay, House, Stage, Stuck
from scenarios.story.states import yuan
from scenarios.story.wanted import PLACES
from scenarios.story.witness import TERMINAL, Message
from scenarios.world.network import Road, Wire
from switch.crypto.errors import CryptoError
from switch.wire.errors import DecodeError, FrameError
from switch.wire.framing import Deframer, Framing
from switch.wire.transactions import BY_NAME, reply_mti
from terminals.fleet import Terminal

SEEN_HERE: Final = frozenset(("answer", "count", "books", "metrics", *PLACES))
"""What can be seen from the host's side."""
POLL_S: Final = 0.05
_RECEIVE: Final = 8192
_ADMIN: Final = {
    "sign_in": "0800", "sign_off": "0820", "echo": "0820", "parameters": "0800", "status": "0820", "settle": "0500",
    "download": "0800", "stripe_load": "0200", "upload": "0200",
}  # fmt: skip
_TOLD: Final = ("at", "card", "entry", "amount", "pin", "of", "to", "payer", "notes")


class Caller:
    """One connection: its bytes become frames on a wire of the house, once `wire_of` has seen the first of them."""

    def __init__(
        self,
        stage: "WallStage",
        connection: socket.socket,
        framing: Framing,
        wire_of: Callable[[bytes], Wire],
        end: int = 0,
    ) -> None:
        self._stage = stage
        self._socket = connection
        self._framing = framing
        self._deframer = Deframer(framing)
        self._wire_of = wire_of
        self._end = end
        self._wire: Wire | None = None

    def ready(self) -> None:
        """Something has come, or the connection is gone."""
        try:
            data = self._socket.recv(_RECEIVE)
            frames = self._deframer.feed(data) if data else []
        except (OSError, FrameError):
            data, frames = b"", []
        for frame in frames:
            self.on(frame.body).ends[self._end].send(self._framing.wrap(frame.body, frame.header, frame.tpdu))
        if not data:
            self.hang_up()

    def on(self, body: bytes = b"") -> Wire:
        """Its wire, made when it is first wanted."""
        if self._wire is None:
            self._wire = self._wire_of(body)
            end = self._wire.ends[self._end]
            end.heard, end.lost = self._say, self.hang_up
        return self._wire

    def _say(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError:
            self.hang_up()

    def hang_up(self) -> None:
        """Close, and tell the other side."""
        self._stage.forget(self._socket)
        if self._wire is not None and not self._wire.ends[self._end].closed:
            self._wire.ends[self._end].close()


class WallStage(Stage):
    """The house on the wall's clock, with sockets."""

    def __init__(self, story: Story, troupe: Troupe, house: type[House] = House) -> None:
        super().__init__(story, troupe, house)
        self._selector = selectors.DefaultSelector()
        self._offset: float | None = None

    def to_the_wall(self) -> None:
        """From now on the clock is the wall's."""
        self._offset = self.now - time.monotonic()

    def run(self, going: Callable[[], bool], most_s: float) -> None:
        """Serve while `going()`, at most for so long. Raises Stuck at the story's limit."""
        if self._offset is None:
            super().run(going, most_s)
            return
        end = self.now + most_s
        while going():
            self._now()
            if self.now > self._until:
                raise Stuck
            if self.now >= end:
                return
            self.look()
            for key, _ in self._selector.select(min(POLL_S, max(0.0, end - self.now))):
                key.data()

    def look(self) -> None:
        """Called again and again while time passes."""

    def _now(self) -> None:
        """All that is due by now happens."""
        assert self._offset is not None
        super().run(lambda: True, max(0.0, time.monotonic() + self._offset - self.now))

    def listen(self, address: tuple[str, int], met: Callable[[socket.socket], Caller]) -> tuple[str, int]:
        """Take connections there; the address as it is. Raises OSError."""
        server = socket.create_server(address)

        def accept() -> None:
            connection, _ = server.accept()
            self.hear(connection, met(connection))

        self._selector.register(server, selectors.EVENT_READ, accept)
        host, port = server.getsockname()[:2]
        return str(host), int(port)

    def hear(self, connection: socket.socket, caller: Caller) -> None:
        """Listen to a connection."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ, caller.ready)

    def forget(self, connection: socket.socket) -> None:
        """A connection is over."""
        if connection.fileno() >= 0:
            self._selector.unregister(connection)
            connection.close()

    def close(self) -> None:
        """Listen no more, and hang up."""
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


class ServedStage(WallStage):
    """The house as a host that listens. `prompt` is told what somebody is to do now."""

    seen: frozenset[str] | None = SEEN_HERE

    def __init__(self, story: Story, troupe: Troupe, listen: tuple[str, int], prompt: Callable[[str], None]) -> None:
        super().__init__(story, troupe)
        self.prompt = prompt
        self._keyed = 0
        self.address = self.listen(listen, lambda one: Caller(self, one, self.line.framing, self._connect))

    def open(self) -> None:
        """As ever, in no time; from then on the clock is the wall's."""
        super().open()
        self.to_the_wall()

    def _connect(self, body: bytes) -> Wire:
        """A wire to the switch, on the road of the terminal that speaks first over it."""
        wire = Wire(self, self.road_of(body), self.draws["network"])
        self.switch.accept(wire)
        return wire

    def road_of(self, body: bytes) -> Road:
        """The road of the terminal a message names; another one for a stranger."""
        try:
            tid = self.line.codec.peek(body, (41,)).get(41)
        except DecodeError:
            tid = None
        known = (booth.road for booth in self.booths.values() if booth.memory.tid == tid)
        return next(known, Road("stranger", 0.0))

    def look(self) -> None:
        """The working keys a terminal was given at its sign-in: by them its MACs are judged."""
        for message in self.witness.messages[self._keyed :]:
            self._keyed = message.number
            if message.leg == TERMINAL and message.mti == "0810" and 62 in message.fields:
                memory = self.booths[message.name].memory
                section = self.line.protection(memory.suite).section
                try:
                    memory.pinpad.load_keys(message.fields[62], section.keys, section.mac)
                except CryptoError:
                    continue  # the answer to a download, or keys that were spoilt on purpose


class Prompter(Player):
    """Steps of a story that somebody else does: told, waited for, and taken from what arrives."""

    stage: ServedStage

    def _do(self, step: Block) -> None:
        booth = self.booth(step)
        act = Act(step.get("as", ""), booth, step["do"].replace("-", "_"), step, self.since, self.stage.now)
        row = BY_NAME.get(act.kind)
        mti = row.mti if row is not None else _ADMIN.get(act.kind, "")
        self._arrives(step, act, mti, told(step))

    def _send(self, step: Block) -> None:
        if "from" in step:
            super()._send(step)
            return
        message = step["send"]
        act = Act(step.get("as", ""), self.booth(step), "send", step, self.since, self.stage.now)
        self._arrives(step, act, message.get("mti", ""), f"send {message.get('mti', message.get('like', ''))}")

    def _arrives(self, step: Block, act: Act, mti: str, words: str) -> None:
        self._keep(act)
        self.stage.prompt(words)
        if mti and not step.get("go-on", False):
            self.stage.run(lambda: not self._answered(act, mti), self.stage.story.limit_s)
            self.stage.settle_down()
        act.over = True

    def _answered(self, act: Act, mti: str) -> bool:
        """Whether the terminal's request has been answered since the step began."""
        seen: list[Message] = [
            one for one in self.stage.witness.messages[act.first :] if one.name == act.booth.till.name
        ]
        asked = next((place for place, one in enumerate(seen) if one.up and one.mti == mti), None)
        return asked is not None and any(one.mti == reply_mti(mti) for one in seen[asked:])


def told(step: Block) -> str:
    """A step in words, for whoever stands at the terminal."""
    parts: list[Any] = [step["do"]]
    for key in _TOLD:
        if key in step:
            value = yuan(step[key]) if key == "amount" else step[key]
            parts.append(f"{key} {'as the story says' if key == 'pin' and str(value).isdecimal() else value}")
    return " ".join(map(str, parts))


def hosted(own: Sequence[Terminal], story: Story) -> Troupe:
    """The cast of a story with the user's terminals in it, one after the other as their suite and readers fit.

    Raises BadStory, CannotPlay.
    """
    left = list(own)

    def terminal_of(kind: Mapping[str, Any], terminal: Terminal) -> Terminal:
        if not own:
            return terminal
        for one in left:
            if one.suite == kind["suite"] and set(kind["reads"]) <= set(one.capabilities):
                left.remove(one)
                return one
        raise CannotPlay(f"no terminal is left that reads {', '.join(kind['reads'])} on {kind['suite']}")

    return cast(story, terminal_of=terminal_of)


def server(
    listen: tuple[str, int], prompt: Callable[[str], None], troupe_of: Callable[[Story], Troupe]
) -> Callable[[Story], ServedStage]:
    """How a served stage is made for a story."""
    return partial(_served, listen, prompt, troupe_of)


def _served(
    listen: tuple[str, int], prompt: Callable[[str], None], troupe_of: Callable[[Story], Troupe], story: Story
) -> ServedStage:
    return ServedStage(story, troupe_of(story), listen, prompt)
