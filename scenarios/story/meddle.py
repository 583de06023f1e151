"""Faults at exact places: a message of a leg, a row of a process, a command to a card, a moment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from scenarios.story.booth import Booth
from scenarios.story.flows import Unfit
from scenarios.story.seal import field_value, resealed, set_field
from scenarios.story.shape import Block
from scenarios.story.vocabulary import MESSAGE_FAULTS, PROCESS_FAULTS, ROAD_FAULTS
from scenarios.story.witness import TERMINAL, Message
from scenarios.world.network import End, Road
from scenarios.world.store import Trouble
from switch.machine import Out, Post
from terminals.device.atm import AtmMemory
from terminals.device.cash import Fault as Jam

if TYPE_CHECKING:
    from scenarios.story.stage import Stage
    from scenarios.world.host import Host

POWER_S: Final = 30.0
DOWN_S: Final = 30.0
CRASH_S: Final = 1.5
LATER_S: Final = 5.0
_SOON_S: Final = 1e-6
_REJECT_AT: Final = 4 + 41
_DISK: Final[dict[str, Trouble]] = {
    "crash-before-sync": "dies before sync", "crash-after-sync": "dies after sync", "disk-full": "enospc",
    "disk-error": "eio",
}  # fmt: skip


@dataclass(eq=False)
class Order:
    """A fault that waits for its message: `left` times (-1: always), `seen` so many already."""

    block: Block
    where: str
    left: int
    seen: int = 0


@dataclass(eq=False)
class Trigger:
    """Something that happens when a message leaves, so many rows are written, or a card gets a command."""

    when: Block
    where: str
    act: Callable[[], None]
    seen: int = 0


@dataclass(eq=False)
class Meddler:
    """All faults of one story. Every road's writes pass here, and are written down on their way."""

    stage: "Stage"
    orders: list[Order] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    waiting: dict[tuple[str, bool], tuple[Message, bytes]] = field(default_factory=dict)
    for_cards: dict[str, list[Block]] = field(default_factory=dict)

    def watch(self) -> None:
        """Stand at every road, and by every process."""
        stage = self.stage
        for name, road in stage.roads.items():
            road.hostile = self._at(name, name, road)
        for name, booth in stage.booths.items():
            booth.road.hostile = self._at(TERMINAL, name, booth.road)
            booth.on_command = self._commanded(name)
        stage.witness.row_watch = self._rows

    def _at(self, leg: str, name: str, road: Road) -> Callable[[bytes, int], list[bytes]]:
        return lambda data, direction: self._passing(leg, name, road, data, direction == 0)

    # messages

    def _passing(self, leg: str, name: str, road: Road, data: bytes, up: bool) -> list[bytes]:
        stage = self.stage
        message = stage.witness.wrote(leg, name, up, data)
        message.mac = stage.seals.verdict(message)
        for trigger in [one for one in self.triggers if one.where in (name, "") and "mti" in one.when]:
            if trigger.when["mti"] == message.mti and self._due(trigger):
                self._later(trigger)
        order = next((one for one in self.orders if one.where == name and self._meets(one, message)), None)
        sent = [data] if order is None else self._struck(order, message, road)
        if order is not None:
            message.fault = message.fault or order.block["what"]
            if message.fault == "alter":
                message = stage.witness.arrives_as(message, sent[0])
                message.mac = stage.seals.verdict(message)
        stage.witness.show(message)
        held = self.waiting.pop((name, up), None) if order is None or order.block["what"] != "swap" else None
        return [*sent, held[1]] if held is not None else sent

    def _meets(self, order: Order, message: Message) -> bool:
        which = order.block.get("which", {})
        if not order.left or ("mti" in which and which["mti"] != message.mti):
            return False
        sender = which.get("from")
        if sender is not None and sender != _sender(message):
            return False
        for de, wanted in which.get("de", {}).items():
            if field_value(message, de) != wanted:
                return False
        order.seen += 1
        if order.seen < which.get("nth", 1):
            return False
        order.left -= order.left > 0
        return True

    def _struck(self, order: Order, message: Message, road: Road) -> list[bytes]:
        block, data = order.block, message.data
        match block["what"]:
            case "drop":
                return []
            case "duplicate":
                return [data] * block.get("copies", 2)
            case "delay" | "replay":
                end = _sending(road, message.up)
                if end is not None:
                    self.stage.at(self.stage.now + block.get("for", LATER_S), "late", end.late, data)
                return [data] if block["what"] == "replay" else []
            case "swap":
                self.waiting[message.name, message.up] = (message, data)
                return []
            case "truncate":
                return [data[: block.get("bytes", len(data) // 2)]]
            case "alter":
                return [self._altered(block, message)]
        end = _sending(road, not message.up)
        if end is not None:
            back = data if block["what"] == "echo" else _rejected(data)
            self.stage.at(self.stage.now + _SOON_S, "back", end.send, back)
        return []

    def _altered(self, block: Block, message: Message) -> bytes:
        if message.frame is None or message.unread:
            return message.data
        fields = dict(message.fields)
        for de, value in block.get("de", {}).items():
            set_field(message, fields, de, value)
        for de in block.get("remove", ()):
            fields.pop(de, None)
        return resealed(self.stage.seals, message, fields, block.get("mac", "right"))

    # other faults

    def _due(self, trigger: Trigger) -> bool:
        trigger.seen += 1
        if trigger.seen < trigger.when.get("nth", 1):
            return False
        self.triggers.remove(trigger)
        return True

    def _later(self, trigger: Trigger) -> None:
        self.stage.at(self.stage.now + trigger.when.get("wait", 0.0) + _SOON_S, "fault", trigger.act)

    def _rows(self, host: "Host", out: Out) -> None:
        """Rows a process asks for: counted, whatever becomes of them."""
        for effect in out:
            if isinstance(effect, Post):
                for trigger in [one for one in self.triggers if one.where == host.name and "rows" in one.when]:
                    trigger.seen += 1
                    if trigger.seen == trigger.when["rows"]:
                        self.triggers.remove(trigger)
                        if "wait" in trigger.when:
                            self._later(trigger)
                        else:
                            trigger.act()

    def _commanded(self, name: str) -> Callable[[bytes], None]:
        def heard(command: bytes) -> None:
            for trigger in [one for one in self.triggers if one.where == name and "command" in one.when]:
                if int(trigger.when["command"], 16) == command[1] and self._due(trigger):
                    self._later(trigger) if "wait" in trigger.when else trigger.act()

        return heard

    def order(self, block: Block) -> None:
        """Take a fault: it happens when its message passes, at its moment, or now. Raises Unfit."""
        what, where = block["what"], block["on"]
        if what in MESSAGE_FAULTS:
            if where not in self.stage.booths and where not in self.stage.roads:
                raise Unfit(f'{what}: messages pass at a terminal, at cups and at core, not at "{where}"')
            times = block.get("times", 1)
            self.orders.append(Order(block, where, -1 if times == "all" else int(times)))
            return
        act = self._act(block)
        when = block.get("when")
        if when is None:
            act()
        elif {"mti", "rows", "command"} & set(when):
            place = where if "rows" in when else self._trigger_place(where, when)
            self.triggers.append(Trigger(when, place, act))
        else:
            self.stage.at(self.stage.now + when.get("wait", 0.0), "fault", act)

    def _trigger_place(self, where: str, when: Block) -> str:
        """Where a trigger's message is looked for: at the terminal or line itself, else anywhere."""
        return where if where in self.stage.booths or where in self.stage.roads else ""

    def _act(self, block: Block) -> Callable[[], None]:
        what, where, stage = block["what"], block["on"], self.stage
        if what in ROAD_FAULTS:
            return self._on_road(what, self._road(where), block.get("for", DOWN_S))
        if what in PROCESS_FAULTS:
            if where not in stage.hosts:
                raise Unfit(f'{what}: a process is switch, cups or core, not "{where}"')
            return self._on_process(what, stage.hosts[where], block)
        if what in ("pull", "tear", "answer"):
            if where not in stage.troupe.holders:
                raise Unfit(f'{what}: "{where}" is no card')
            return lambda: self.for_cards.setdefault(where, []).append(block)
        booth = stage.booths.get(where)
        if booth is None:
            raise Unfit(f'{what}: "{where}" is no terminal')
        return self._on_terminal(what, booth, block)

    def _road(self, where: str) -> Road:
        if where in self.stage.roads:
            return self.stage.roads[where]
        if where in self.stage.booths:
            return self.stage.booths[where].road
        raise Unfit(f'"{where}" is no line: a terminal, cups or core')

    def _on_road(self, what: str, road: Road, seconds: float) -> Callable[[], None]:
        stage = self.stage

        def struck() -> None:
            stage.witness.note("switch", f"{road.name}: {what}", "fault")
            if what == "hold":
                road.held = [stage.now + seconds] * 2
                return
            road.break_all()
            if what == "down":
                road.cut = True
                stage.at(stage.now + seconds, "fault ends", setattr, road, "cut", False)

        return struck

    def _on_process(self, what: str, host: "Host", block: Block) -> Callable[[], None]:
        def struck() -> None:
            self.stage.witness.note(host.name, what, "fault")
            if what == "crash":
                # a crash inside a step of the machine happens when that step is over
                self.stage.at(self.stage.now, "crash", host.kill_and_restart, block.get("for", CRASH_S))
            elif what == "freeze":
                host.stop_for(block.get("for", DOWN_S))
            elif what == "clock":
                host.skew += int(block.get("by", "0"))
            else:
                host.platter.troubles.append(_DISK[what])

        return struck

    def _on_terminal(self, what: str, booth: Booth, block: Block) -> Callable[[], None]:
        if what == "jam" and not isinstance(booth.memory, AtmMemory):
            raise Unfit(f"jam: {booth.till.name} holds no cash")

        def struck() -> None:
            self.stage.witness.note(TERMINAL, f"{booth.till.name}: {what}", "fault")
            if what == "power-off":
                booth.power_off(block.get("for", POWER_S))
            elif what == "hang-up":
                end = booth.end
                booth.close()
                if end is not None:
                    end.lost()
            elif what == "dark":
                booth.dark = True
            elif isinstance(booth.memory, AtmMemory):
                booth.memory.vault.faults.append(Jam(block.get("how", "none"), block.get("notes", 0)))

        return struck

    def at_card(self, booth: Booth, holder: str) -> None:
        """What will happen to this card in the reader, now that it is there."""
        for block in self.for_cards.pop(holder, ()):
            if block["what"] == "tear":
                booth.tear = block.get("how", "paying").replace("-", "_")
            else:
                booth.slips.expect(block)

    def clear(self) -> None:
        """No more faults that wait for something."""
        self.orders.clear()
        self.triggers.clear()
        self.for_cards.clear()


def _sender(message: Message) -> str:
    if message.leg == TERMINAL:
        return "terminal" if message.up else "switch"
    return "switch" if message.up else "host"


def _sending(road: Road, up: bool) -> End | None:
    """The end that sends this way over the road's last connection."""
    return road.wires[-1].ends[0 if up else 1] if road.wires else None


def _rejected(data: bytes) -> bytes:
    """A network frame as the line returns it: the header's reject code says why."""
    return data[:_REJECT_AT] + b"00045" + data[_REJECT_AT + 5 :]
