"""Peers that say what no honest one says: twice, swapped, spoilt, our own words, another amount; and a new day."""

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from scenarios.world.ground import network
from scenarios.world.network import Road
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.errors import DecodeError
from switch.wire.framing import Deframer, NetworkHeader
from switch.wire.mab import network_mab
from switch.wire.profile import framing_of

if TYPE_CHECKING:
    from scenarios.world.world import World

SPOIL_SHARE = 0.25
MAC_CARRIERS = (b"\x01\x00", b"\x02\x00", b"\x02\x20", b"\x04\x00")
"""MTIs of a terminal's messages that carry a MAC."""
_LEAP_YEAR = 2028
_REJECT_AT = 4 + 41
"""Where a header's reject code stands in a frame, its length prefix counted."""


class Hostile:
    """What a line may do to whole frames for a while."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._codec = codec_of(NETWORK)
        self._kept: dict[str, list[bytes]] = {}
        self._partial: set[str] = set()

    def _for(self, road: Road, seconds: float, act: Callable[[bytes, int], list[bytes]]) -> None:
        road.hostile = act

        def over() -> None:
            if road.hostile is act:
                road.hostile = None

        self.world.at(self.world.now + seconds, "fault ends", over)

    def _money(self, data: bytes) -> str:
        """The MTI of a network frame that moves money, "" of another."""
        mti = data[50:54].decode("latin-1")
        return mti if mti[:2] in ("01", "02", "04") else ""

    def say_again(self, road: Road, seconds: float, draw: random.Random) -> None:
        """Answers two to five times."""

        def again(data: bytes, direction: int) -> list[bytes]:
            return [data] * draw.randint(2, 5) if direction and draw.random() < 0.5 else [data]

        self._for(road, seconds, again)

    def swap(self, road: Road, seconds: float, draw: random.Random) -> None:
        """An answer now and then waits for the next one, which goes first."""
        waiting: list[bytes] = []

        def other(data: bytes, direction: int) -> list[bytes]:
            if not direction:
                return [data]
            if not waiting and self._money(data) and draw.random() < 0.6:
                waiting.append(data)
                return []
            mine, waiting[:] = [data, *waiting], []
            return mine

        self._for(road, seconds, other)

    def echo(self, road: Road, seconds: float, draw: random.Random) -> None:
        """In place of some answers the request itself comes back, and before some of them a rejection of it."""
        asked: list[bytes] = []

        def back(data: bytes, direction: int) -> list[bytes]:
            if not self._money(data):
                return [data]
            if not direction:
                if draw.random() < 0.3 and self._money(data) in ("0100", "0200"):
                    asked.append(data)
                return [data]
            mine = [data, *asked]
            asked.clear()
            return mine

        self._for(road, seconds, back)

    def reject(self, road: Road, seconds: float, draw: random.Random) -> None:
        """Some requests are returned with a header reject code, and reach nobody."""

        def refuse(data: bytes, direction: int) -> list[bytes]:
            if direction or self._money(data) not in ("0100", "0200") or draw.random() > 0.3 or not road.wires:
                return [data]
            returned = data[:_REJECT_AT] + b"00045" + data[_REJECT_AT + 5 :]
            road.wires[-1].ends[1].send(returned)
            return []

        self._for(road, seconds, refuse)

    def spoil(self, road: Road, seconds: float, draw: random.Random, direction: int) -> None:
        """One bit of some frames that carry a MAC is another one (what has none is not protected, and a prefix never
        is spoilt, or the stream would be lost)."""
        line = road.name in self.world.roads

        def flip(data: bytes, way: int) -> list[bytes]:
            protected = self._money(data) if line else data[13:15] in MAC_CARRIERS
            if way != direction or not protected or draw.random() > SPOIL_SHARE:
                return [data]
            spoilt = bytearray(data)
            at = draw.randrange(50 if line else 13, len(data))
            spoilt[at] ^= 1 << draw.randrange(7)
            if line and self._same_to_the_mac(data[50:], bytes(spoilt[50:])):
                return [data]
            self.world.spoilt.add(bytes(spoilt[50 if line else 13 :]))
            return [bytes(spoilt)]

        self._for(road, seconds, flip)

    def _same_to_the_mac(self, before: bytes, after: bytes) -> bool:
        """Whether the change is in a field that the network's MAC does not cover: nobody can notice that."""
        try:
            one, other = self._codec.decode(before), self._codec.decode(after)
        except DecodeError:
            return False
        covered = network_mab(one.mti, one.fields) == network_mab(other.mti, other.fields)
        return covered and one.fields.get(128) == other.fields.get(128)

    def old_answer(self, line: str, draw: random.Random) -> None:
        """The answer to a request of the past, once more, MAC and all."""
        road, host = self.world.roads[line], self.world.centres[line]
        kept = self._kept.get(line)
        if kept is None:
            kept = self._kept[line] = []

            def keep(data: bytes, direction: int) -> list[bytes]:
                if direction and self._money(data):
                    kept.append(data)
                    del kept[:-20]
                return [data]

            self._for(road, 60.0, keep)
            self.world.at(self.world.now + 61.0, "fault", self.old_answer, line, draw)
            return
        for plug in host.plugs.values():
            if kept and not plug.link.closed:
                plug.end.send(draw.choice(kept))

    def approve_part(self, line: str, seconds: float, draw: random.Random) -> None:
        """A network that approves half of what is asked: with its keys, in its books and in its answer (code 10)."""

        def halve(data: bytes, direction: int) -> list[bytes]:
            mti = self._money(data)
            hsm = self.world.ground.hsms[line]
            if mti not in ("0200", "0420", "0210") or f"zak/{line}" not in hsm:
                return [data]
            message = self._read(line, data)
            if message is None:
                return [data]
            header, fields = message
            rrn = fields.get(37, "")
            if mti == "0200" and fields.get(3) == "000000" and fields.get(25) == "00" and draw.random() < 0.4:
                self._partial.add(rrn)
            if rrn not in self._partial:
                return [data]
            if mti == "0210":
                if fields.get(39) != "00":
                    return [data]
                fields[39] = "10"
            else:
                fields[4] = f"{int(fields[4]) // 2:012d}"
            return [self._write(line, mti, header, fields)]

        self._for(self.world.roads[line], seconds, halve)

    def _read(self, line: str, data: bytes) -> tuple[bytes, dict[int, Any]] | None:
        frame = Deframer(framing_of(network(line))).feed(data)[0]
        try:
            return frame.header, dict(self._codec.decode(frame.body).fields)
        except DecodeError:
            return None

    def _write(self, line: str, mti: str, header: bytes, fields: dict[int, Any]) -> bytes:
        profile = network(line)
        mac = self.world.ground.hsms[line].mac(f"zak/{line}", profile.keys.mac, network_mab(mti, fields))
        fields[128] = mac.decode()
        body = self._codec.encode(mti, fields)
        return framing_of(profile).wrap(body, NetworkHeader.parse(header).build(len(body)))

    def cutover(self, line: str, window_s: float) -> bool:
        """The operator changes the day of a counterpart, unless it is doing so already."""
        world = self.world
        today = world.ground.dates[line]
        tomorrow = date(_LEAP_YEAR, int(today[:2]), int(today[2:])) + timedelta(days=1)
        fresh = f"{tomorrow:%m%d}"
        done = world.centres[line].call(lambda machine, now, out: machine.cutover(fresh, window_s, now, out))
        if done:
            world.ground.dates[line] = fresh
        return bool(done)
