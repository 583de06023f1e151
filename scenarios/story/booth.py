"""A terminal of a story and the person at it: the world's device, with a manner for each step and its commands seen."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from scenarios.story.casting import Holder, Till
from scenarios.world.actors import APDU_S, Device, Purse, Shops
from scenarios.world.network import Road
from switch.issuer.portfolio import Card
from terminals.card.image import Image
from terminals.card.mint import Minter, OwnCard
from terminals.card.profile import altered
from terminals.device.atm import AtmMemory
from terminals.device.cash import size
from terminals.device.dialogue import Outcome
from terminals.device.memory import Item, Memory
from terminals.figures import Figures
from terminals.flow import Ask, Cancelled, Flow, FlowError
from terminals.hands import Hand
from terminals.holders import Visit

if TYPE_CHECKING:
    from scenarios.story.stage import Stage


class Made(Minter):
    """The chips of all cards, some of them made otherwise for one story."""

    def __init__(self, shared: Minter, holders: Mapping[str, Holder]) -> None:
        self.portfolio = shared.portfolio
        self._shared = shared
        self._holders = {holder.card.pan: holder for holder in holders.values()}
        self._altered: dict[str, Image] = {}

    def image(self, card: Card | OwnCard, profile: str | None = None) -> Image:
        """The image of a card."""
        holder = self._holders.get(getattr(card, "pan", ""))
        if profile is not None or holder is None or not holder.chip:
            return self._shared.image(card, profile)
        if holder.name not in self._altered:
            self._altered[holder.name] = self._shared.issued(holder.card, altered(holder.card.chip, holder.chip))
        return self._altered[holder.name]


_CERTIFICATES: Final = {0x00: "AAC", 0x40: "TC", 0x80: "ARQC"}


def cryptogram(values: Mapping[str, bytes]) -> str:
    """What kind of cryptogram stands in a transaction's values: TC, ARQC, AAC, none."""
    cid = values.get("9F27", b"")
    return _CERTIFICATES.get(cid[0] & 0xC0, "none") if cid else "none"


@dataclass
class Act:
    """One dialogue of a story: who, with what, and what came of it. `first` is its first message's number."""

    name: str
    booth: "Booth"
    kind: str
    manner: Mapping[str, Any]
    first: int
    began_s: float
    card: Card | None = None
    holder: str = ""
    hand: Hand | None = None
    atc_before: int = 0
    first_ac: str = ""
    seen: list[Any] = field(default_factory=list)
    commands: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    outcome: Outcome | None = None
    over: bool = False
    lost: str = ""
    taken_before: int = 0

    def see(self, what: Any) -> None:
        """What the kernel decided; its first cryptogram is noted, as the values go on changing."""
        if not self.seen:
            self.first_ac = cryptogram(what.values)
        self.seen.append(what)

    @property
    def item(self) -> Item | None:
        """The terminal's own record of it."""
        return self.outcome.item if self.outcome is not None else None


class Counter(Shops):
    """The person at one terminal, who behaves as the step says."""

    def __init__(self, stage: "Stage") -> None:
        super().__init__(
            stage.line, Purse(stage.ground.portfolio), Figures(lambda: stage.now), random.Random(0),
            holders=stage.holders, hands=stage.pockets.hands,
        )  # fmt: skip
        self.manner: Mapping[str, Any] = {}
        self.asked: list[str] = []

    def answer(self, asked: Ask, visit: Visit, hand: Hand | None) -> Any:
        """What the person does. Raises Cancelled."""
        self.asked.append(asked.what)
        manner = self.manner
        match asked.what:
            case "pin":
                return _digits(manner.get("pin", "right"), visit.pin(asked.about))
            case "offline_pin":
                right = hand.icc.image.pin if hand is not None else ""
                how = manner.get("offline-pin", "right")
                return None if how == "broken" else _digits(how, right)
            case "new_pin":
                fresh = manner.get("new-pin", "905173")
                return fresh if fresh == visit.pin(asked.about) else visit.new_pin(asked.about, int(fresh))
            case "new_pin_again":
                return manner.get("new-pin-again") or visit.new_pin_again() or manner.get("new-pin", "")
            case "application":
                return manner.get("application", 0)
            case "tap_again":
                return manner.get("taps-again", True) and hand is not None and hand.again()
            case "cash":
                takes = manner.get("takes", "all")
                return size(asked.about) if takes == "all" else int(takes)
            case "card":
                return manner.get("takes-card", True)
            case "less":
                return manner.get("takes-less", True)
        return True


def _digits(how: str, right: str) -> str:
    """The digits that are entered. Raises Cancelled."""
    if how == "cancel":
        raise Cancelled
    if how == "none":
        return ""
    if how == "wrong":
        return f"{(int(right) + 1) % 10 ** len(right):0{len(right)}d}"
    return right if how == "right" else how


class Slips:
    """What a card does wrong in one dialogue (`pull`, `answer`): each waits for its command, the `nth` of its INS or
    of all."""

    def __init__(self) -> None:
        self._waiting: list[Mapping[str, Any]] = []
        self._heard: dict[str, int] = {}

    def expect(self, block: Mapping[str, Any]) -> None:
        """Let something go wrong in the dialogue that follows."""
        self._waiting.append(block)

    def at(self, command: bytes) -> Mapping[str, Any] | None:
        """What goes wrong at this command."""
        for ins in ("", f"{command[1]:02X}"):
            self._heard[ins] = self._heard.get(ins, 0) + 1
        for block in self._waiting:
            if self._heard.get(block.get("command", "").upper()) == block.get("nth", 1):
                self._waiting.remove(block)
                return block
        return None

    def clear(self) -> None:
        """The dialogue is over."""
        self._waiting.clear()
        self._heard.clear()


def answered(slip: Mapping[str, Any]) -> bytes:
    """What a card says of an `answer`."""
    return bytes.fromhex(slip.get("with", "6F00"))


class Booth(Device):
    """A terminal in its place. `act` is the dialogue under way or the last one; `on_command` sees every command before
    the card does; `slips` are what the card does wrong."""

    def __init__(self, stage: "Stage", till: Till, road: Road, memory: Memory) -> None:
        self.till = till
        self.stage = stage
        self.act: Act | None = None
        self.on_command: Callable[[bytes], None] = _nothing
        self._command: bytes | None = None
        self.slips = Slips()
        super().__init__(stage, road, stage.line, Counter(stage), memory)

    @property
    def counter(self) -> Counter:
        """The person at it."""
        assert isinstance(self.trade, Counter)
        return self.trade

    def play(self, act: Act, flow: Flow[Outcome]) -> bool:
        """Start a dialogue; False while another is under way or the power is off."""
        self.act, self.counter.manner = act, act.manner
        act.taken_before = self.taken_minor
        if act.hand is not None:
            act.atc_before = act.hand.icc.state.atc
        return self.begin(flow, act.hand, lambda: self._done_with(act))

    def _done_with(self, act: Act) -> None:
        act.outcome, act.over = self.last, True
        self.slips.clear()

    def _card(self, command: bytes) -> None:
        self.on_command(command)
        if self.on:
            self._command = command
            slip = self.slips.at(command)
            if slip is not None and slip["what"] == "answer":
                self.world.at(self.world.now + APDU_S, "card", self._step, self._turn, answered(slip), None)
                return
            self.pull = int(slip is not None)
            super()._card(command)

    def _step(self, turn: int, answer: Any, error: FlowError | None) -> None:
        command, self._command = self._command, None
        if command is not None and self.act is not None and turn == self._turn:
            response = answer if isinstance(answer, bytes) else None
            self.act.commands.append((command, response))
            self.stage.witness.command(self.trace, command, response)
        super()._step(turn, answer, error)

    @property
    def trace(self) -> str:
        """The trace of the transaction under way, as far as its number is known."""
        memory = self.memory
        return f"{memory.tid}/{memory.batch}/{memory.stan % 999_999 + 1:06d}"

    def fill(self, notes: Mapping[int, int]) -> None:
        """A custodian puts notes in. ValueError where they find no room."""
        if not isinstance(self.memory, AtmMemory):
            raise ValueError(f"{self.till.name} holds no cash")
        self.memory.vault.load(notes, self.memory.at)


def _nothing(command: bytes) -> None:
    del command
