"""One transaction under the glass: a card in a reader that remembers every byte, a kernel, and an issuer or a host."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from switch.wire import qpboc
from terminals.card.card import Icc
from terminals.card.genac import purse_of
from terminals.card.mint import CardFault
from terminals.card.state import CardState
from terminals.card.tap import decide
from terminals.card.words import amount as card_amount
from terminals.drive import instant
from terminals.flow import Ask, Cancelled, CardRemoved
from terminals.kernel.contact import Answer, Completed, complete, start
from terminals.kernel.session import CONTACT, CONTACTLESS, LOADS, Kernel, Presented, Request
from terminals.kernel.tap import tap
from terminals.look.chosen import Chosen, Issued
from terminals.look.issuer import Arpc, Load, Verdict, answer, covered, judge
from terminals.look.setting import Setting, kernel_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be shown.

    `issued` is what the issuer believes of the card; `arc` None: it gives no answer; `scripts` what it sends
    (`read_script`). `tear`: the number of the command (from 1) with whose answer the card leaves once, and comes back.
    `pin` None: the holder enters the card's PIN; "" refuses. `memory`: the card's, None for a fresh one; `atc`: what it
    has counted so far, the last of them online.
    """

    interface: Literal["contact", "contactless"]
    chosen: Chosen
    setting: Setting
    request: Request
    issued: Issued
    seed: int = 0
    arc: str | None = "00"
    arpc: Arpc = "good"
    tear: int | None = None
    pin: str | None = None
    balance_minor: int | None = None
    atc: int | None = None
    memory: CardState | None = None
    scripts: tuple[str, ...] = ()


@dataclass(slots=True)
class Taken:
    """What happened.

    `said` holds every command with its answer, b"" where the card was gone; `asked` what the holder was asked;
    `presented_until` how many commands there were before any host; `decision` the card's, of a tap; `host` what a real
    host said.
    """

    order: Order
    kernel: Kernel
    said: list[tuple[bytes, bytes]]
    presented: Presented
    asked: list[str]
    before_minor: int
    after_minor: int
    presented_until: int
    verdict: Verdict | None = None
    decision: qpboc.Decision | None = None
    completed: Completed | None = None
    host: dict[str, Any] = field(default_factory=dict)

    @property
    def approved(self) -> bool:
        """Whether the transaction came to a good end, and its cryptogram verifies."""
        if self.host:
            return bool(self.host["state"] == "approved")
        if self.verdict is not None and not self.verdict.verified:
            return False
        if self.completed is not None:
            return self.completed.outcome == "approved"
        if self.presented.outcome == "online":
            return self.verdict is not None and self.verdict.arc == "00"
        return self.presented.outcome == "approved"


_GPO: Final = 0xA8
_DECIDED: Final = (b"\x90\x00", b"\x69\x85")


class Chance:
    """Bytes that look like chance and come again with the same seed."""

    def __init__(self, seed: int, name: str) -> None:
        self._start = f"{name}/{seed}/"
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(f"{self._start}{self._count}".encode()).digest(size)


class Reader:
    """The card in the reader; it writes down what is said, and lets the card leave at one answer."""

    def __init__(self, icc: Icc, tear: int | None) -> None:
        self.icc = icc
        self.said: list[tuple[bytes, bytes]] = []
        self.decision: qpboc.Decision | None = None
        self._tear = tear

    def __call__(self, command: bytes) -> bytes:
        before = self.icc.state.balance, self.icc.state.balance2
        response = self.icc.transmit(command)
        if command[1] == _GPO and self.icc.interface == CONTACTLESS and response[-2:] in _DECIDED:
            self.decision = _decision(self.icc, before)
        if self._tear == len(self.said) + 1:
            self.said.append((command, b""))
            self.icc.tear()
            raise CardRemoved
        self.said.append((command, response))
        return response


def _decision(icc: Icc, before: tuple[int, int]) -> qpboc.Decision | None:
    """What the card has just decided on a tap, made again from what it knew then."""
    values = icc.values
    spent = card_amount(values.get("9F02", b""))
    if spent is None or not {"9F66", "5F2A"} <= values.keys():
        return None
    purse = purse_of(icc, values["5F2A"])
    return decide(icc, values, purse, before[1] if purse == 2 else before[0], spent)


class Holder:
    """The person: knows the PIN, takes the first application, and brings a card back that left too early."""

    def __init__(self, icc: Icc, pin: str) -> None:
        self._icc = icc
        self._pin = pin
        self.asked: list[str] = []

    def __call__(self, ask: Ask) -> Any:
        self.asked.append(ask.what)
        if ask.what in ("pin", "offline_pin"):
            return self._pin
        if ask.what == "application":
            return 0
        if ask.what == "tap_again":
            self._icc.reset()
            return True
        if ask.what == "holder_id":
            return True
        raise Cancelled


class Seat(NamedTuple):
    """All that meets at the reader."""

    icc: Icc
    kernel: Kernel
    reader: Reader
    holder: Holder


def seat(order: Order) -> Seat:
    """Card, kernel, reader and person of a transaction. Raises CardFault for a card without the interface."""
    image = order.chosen.image
    if order.interface not in image.profile.interfaces:
        raise CardFault(f"this card has no {order.interface} interface")
    state = order.memory or image.fresh_state()
    if order.balance_minor is not None:
        state.balance = order.balance_minor
    if order.atc is not None:
        state.atc = state.last_online = order.atc
    icc = Icc(image, state, Chance(order.seed, "card"), order.interface)
    kernel = kernel_of(order.setting, Chance(order.seed, "terminal"))
    return Seat(icc, kernel, Reader(icc, order.tear), Holder(icc, order.chosen.pin if order.pin is None else order.pin))


def look(order: Order) -> Taken:
    """Do the transaction with the issuer that stands in. Raises CardFault for a card without the interface."""
    icc, kernel, reader, holder = seat(order)
    before = icc.state.balance
    flow = (start if order.interface == CONTACT else tap)(kernel, order.request)
    presented = instant.run(flow, _nobody, holder, reader)
    taken = Taken(order, kernel, reader.said, presented, holder.asked, before, before, len(reader.said))
    taken.decision = reader.decision
    verify(taken)
    _ask_issuer(taken, reader, holder)
    taken.after_minor = icc.state.balance
    return taken


def verify(taken: Taken) -> None:
    """Have the issuer look at the cryptogram, where one came."""
    if taken.presented.values.get("9F26"):
        taken.verdict = judge(taken.order.issued, ac_values(taken))


def _ask_issuer(taken: Taken, reader: Reader, holder: Holder) -> None:
    """Where the card wants to go online: answer, and finish on the contacts."""
    order, presented = taken.order, taken.presented
    if presented.outcome != "online" or taken.verdict is None:
        return
    if taken.kernel.online_capable:
        said, taken.verdict = answer(
            order.issued, taken.verdict, order.arc, order.arpc, order.scripts, _load(order, taken.before_minor)
        )
    else:
        said = Answer(None)  # a terminal without a line: the card's wish cannot be met
    if presented.session is not None:
        # The kernel goes on in the same mapping; what was presented stays as it was.
        presented.session.values = dict(presented.values)
        taken.completed = instant.run(complete(presented.session, said), _nobody, holder, reader)


def _load(order: Order, balance_minor: int) -> Load | None:
    loads = order.request.type_9c in LOADS
    return Load(balance_minor, order.request.amount_minor) if loads else None


def ac_values(taken: Taken) -> dict[str, bytes]:
    """What the cryptogram of a transaction covers, as the issuer reads it from DE55."""
    values = covered(taken.presented.values)
    if taken.order.interface == CONTACTLESS:
        values["95"] = bytes(5)
    return values | {tag: taken.presented.values.get(tag, b"") for tag in ("9F10", "9F26")}


def _nobody(body: bytes) -> bytes | None:
    return None
