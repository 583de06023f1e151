"""Connections to the switch that are nobody's terminal: strangers, nonsense, and bytes heard before."""

import random
from typing import TYPE_CHECKING

from scenarios.world.network import End, Road, Wire
from switch.wire.transactions import BY_NAME
from terminals.device.dialogue import request_fields, sealed
from terminals.device.memory import Item

if TYPE_CHECKING:
    from scenarios.world.actors import Device
    from scenarios.world.world import World


class Visitors:
    """Who connects without being one of ours; none of them may cost anybody anything."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._road = Road("visitor", 0.02)
        self._ends: list[End] = []

    def leave(self) -> None:
        """All of them hang up."""
        for end in self._ends:
            end.close()
        self._ends.clear()

    def _connect(self) -> End | None:
        host = self.world.switch
        if not (host.up and host.listening):
            return None
        wire = Wire(self.world, self._road, self.world.draws["fault"])
        end = wire.ends[0]
        self._ends.append(end)
        host.accept(wire)
        return end

    def come(self, data: bytes, every_s: float = 0.0) -> bool:
        """Connect and say these bytes, all at once or one at a time."""
        end = self._connect()
        if end is None:
            return False
        if not every_s:
            if data:
                end.send(data)
            return True
        for place, byte in enumerate(data):
            self.world.at(self.world.now + place * every_s, "visitor", end.send, bytes((byte,)))
        return True

    def stranger(self, device: "Device", draw: random.Random) -> bool:
        """A sale of a terminal that nobody knows, or of one of ours under another merchant's number."""
        memory, line = device.memory, device.line
        end = self._connect()
        if end is None or not memory.signed_in:
            return False
        item = self._item(device, draw.randrange(1, 900_000), 1_00)
        fields = request_fields(memory, line, item)
        de, value = draw.choice(((41, "99999999"), (42, "999999999999999")))
        fields[de] = value
        end.send(line.wrap(sealed(memory, line, "0200", fields)))
        return True

    def replay(self, device: "Device", draw: random.Random) -> bool:
        """A request heard before, byte for byte, on a connection of its own; once now and once much later."""
        if not device.sent:
            return False
        body = draw.choice(device.sent)
        for after in (0.0, draw.uniform(0.01, 40.0)):
            self.world.at(self.world.now + after, "visitor", self._say, device, body)
        return True

    def _say(self, device: "Device", body: bytes) -> None:
        end = self._connect()
        if end is not None:
            end.send(device.line.wrap(body))

    def other_amount(self, device: "Device", draw: random.Random) -> bool:
        """A trace number used before in this batch, under the right keys, with another amount."""
        memory = device.memory
        used = [item for item in memory.items if item.kind == "sale" and item.state == "approved"]
        end = self._connect()
        if not used or end is None or not memory.signed_in:
            return False
        earlier = draw.choice(used)
        item = self._item(device, int(earlier.stan), earlier.amount_minor + 1)
        item.pan, item.expiry = earlier.pan, earlier.expiry
        end.send(device.line.wrap(sealed(memory, device.line, "0200", request_fields(memory, device.line, item))))
        return True

    def _item(self, device: "Device", stan: int, amount_minor: int) -> Item:
        card = self.world.ground.portfolio.card(1, 0)
        memory = device.memory
        batch = memory.batch or "000001"
        return Item(BY_NAME["sale"].name, batch, f"{stan:06d}", amount_minor, "012", card.pan, card.expiry)
