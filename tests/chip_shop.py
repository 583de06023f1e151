"""A till with a reader in the whole house, and minted cards that people put into it."""

from collections.abc import Callable
from typing import Any

from house import House

from switch.issuer.portfolio import Card
from switch.wire.chips import AidRecord, CaKeyRecord, ChipTable, NoPin
from switch.wire.codec import codec_of
from switch.wire.dialects import POS
from switch.wire.message import Message
from terminals.card.card import Icc
from terminals.card.mint import Minter
from terminals.card.signing import ca_keys
from terminals.device import pos
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.device.reader import Reader
from terminals.drive.instant import run
from terminals.flow import Ask, CardRemoved, Flow, PowerOff
from terminals.kernel.parameters import Parameters, demo_parameters
from terminals.kernel.session import Kernel

CODEC = codec_of(POS)
TODAY = ("261028", "101500")


class Shop:
    """`said` are the terminal's requests as they left it, `answers` what came back; None for silence."""

    def __init__(
        self, profile: str = "debit", issuer: int = 0, n: int = 0, house: House | None = None,
        parameters: Parameters | None = None, **reader: Any,
    ) -> None:  # fmt: skip
        self.house = house or House()
        self.memory: Memory = self.house.memories[n]
        self.line: Line = self.house.line
        kernel = Kernel(parameters or demo_parameters(ca_keys()), self.house.entropy)
        self.memory.reader = Reader(kernel, lambda: TODAY, **reader)
        kernel.spent = self.memory.spent
        self.minter = Minter(self.house.portfolio, 7)
        self.card = self.a_card(profile, issuer)
        self.icc = self.chip(self.card)
        self.said: list[Message] = []
        self.answers: list[Message | None] = []
        self.asked: list[str] = []
        self.host: Callable[[bytes], bytes | None] = self.house.ask
        self.apdus = 0
        self.torn_at = -1
        self.lost = False
        self.dark_at = -1

    def a_card(self, profile: str, issuer: int = 0, n: int = 0) -> Card:
        """The n-th good card of an issuer with this chip ("" for none)."""
        cards = (self.house.portfolio.card(issuer, i) for i in range(1000))
        return [c for c in cards if c.chip == profile and c.status == "normal" and c.expiry > "2612"][n]

    def chip(self, card: Card) -> Icc:
        return self.minter.icc(card, self.house.entropy)

    def run(self, flow: Flow[Any], icc: Icc | None = None, interface: str = "contact", pin: str | None = None) -> Any:
        """A dialogue with a card in the reader, put in anew."""
        card = icc or self.icc
        card.reset(interface)
        self.apdus = 0

        def holder(asked: Ask) -> Any:
            self.asked.append(asked.what)
            if asked.what == "tap_again":
                card.reset(interface)
            answers = {"application": 0, "holder_id": True, "tap_again": True, "offline_pin": card.image.pin}
            return answers[asked.what] if asked.what in answers else pin or asked.about.pin  # noqa: SIM401

        def reader(command: bytes) -> bytes:
            step, self.apdus = self.apdus, self.apdus + 1
            if step in (self.torn_at, self.dark_at):
                if self.lost:
                    card.transmit(command)
                card.tear()
                if step == self.dark_at:
                    raise PowerOff
                raise CardRemoved
            if not card.on:
                raise CardRemoved
            return card.transmit(command)

        return run(flow, self._ask, holder, reader)

    def _ask(self, body: bytes) -> bytes | None:
        self.said.append(CODEC.decode(body))
        reply = self.host(body)
        self.answers.append(CODEC.decode(reply) if reply is not None else None)
        return reply

    def kinds(self) -> list[str]:
        """What was said, as MTI and DE60.1, without sign-ins."""
        return [f"{m.mti} {m.fields[60][:2]}" for m in self.said if m.mti != "0800"]

    def sign_in(self) -> None:
        assert self.run(pos.sign_in(self.memory, self.line)).approved
        self.said.clear()
        self.answers.clear()


def no_pin_table(mid: str, bins: tuple[str, ...], limit_minor: int = 100_000) -> ChipTable:
    """The switch's own table: this merchant, these BINs, and what else it downloads."""
    keys = tuple(
        CaKeyRecord(rid=key.rid.hex(), index=f"{key.index:02x}", expiry="20401231", key=key.modulus.hex(),
                    exponent=key.exponent.hex())
        for key in ca_keys() if key.kind == "rsa"
    )  # fmt: skip
    aids = (AidRecord(aid="A000000333010101"), AidRecord(aid="A000000333010102"))
    return ChipTable(aids, keys, NoPin(limit_minor=limit_minor, merchants=(mid,), bins=bins))
