"""What the terminals of a sandwich do: every row of the matrix, swiped, keyed and with a chip's data, with and without
a PIN, in chains in which each step undoes or completes the one before.

The chip's data have the tags an online request has, and a cryptogram that the issuers behind the switch verify: they
show whether DE55, DE23 and DE22 pass a switch unharmed.
"""

import random
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any, Final, NamedTuple

from switch.crypto.cryptogram import ac_input, application_cryptogram, card_key, session_key
from switch.issuer.portfolio import Card, Portfolio
from switch.wire import tlv
from switch.wire.errors import DecodeError
from switch.wire.transactions import BY_NAME
from terminals.device import pos
from terminals.device.dialogue import Line, Outcome, sealed
from terminals.device.memory import Item, Memory
from terminals.flow import Ask, Call, Flow, FlowEffect, TimedOut, through
from terminals.goods import extras

SWIPED, KEYED, CHIP, VOUCHER = "swiped", "keyed", "chip", "voucher"
"""How a card is presented; by its voucher a transaction is undone without its card."""

FIRST_STAN: Final = 700_000
"""Terminals' trace numbers begin high and far apart, so that one handed through by a switch is seen at once."""

_CONTACT: Final = "05"
_READS_CHIP: Final = "5"
_SEQUENCE: Final = "001"
_CHIP_KINDS: Final = frozenset(("balance", "sale", "preauth", "atm_inquiry", "atm_withdrawal"))


class Step(NamedTuple):
    """One transaction: its row, how the card is presented, whether the PIN is entered and whether it is the right one.

    `share` is what the amount is in per cent of the one before. Where the answer is not `heard`, it arrives and the
    terminal takes no notice, as one that lost power: it sends a reversal before its next transaction.
    """

    kind: str
    entry: str = SWIPED
    pin: bool = True
    right: bool = True
    share: int = 100
    heard: bool = True


CHAINS: Final[tuple[tuple[Step, ...], ...]] = (
    (Step("sale"), Step("sale_void")),
    (Step("preauth"), Step("completion", share=115), Step("completion_void")),
    (Step("sale", CHIP), Step("refund", share=50)),
    (Step("balance"),),
    (Step("preauth", pin=False), Step("preauth_void", pin=False)),
    (Step("sale", KEYED), Step("sale_void", VOUCHER)),
    (Step("sale", pin=False), Step("refund", KEYED)),
    (Step("balance", CHIP),),
    (Step("preauth", CHIP), Step("completion", KEYED, share=80), Step("completion_void", VOUCHER)),
    (Step("sale", right=False),),
    (Step("sale", CHIP, heard=False),),
    (Step("preauth", KEYED, pin=False), Step("completion", pin=False)),
    (Step("preauth", heard=False),),
    (Step("sale", CHIP, pin=False),),
    (Step("preauth"), Step("additional_preauth", share=20), Step("completion", share=110), Step("completion_void")),
    (Step("offline_sale", KEYED), Step("adjust", KEYED, share=10)),
    (Step("preauth"), Step("completion_notice"), Step("completion_void", VOUCHER)),
    (Step("sale"), Step("tip", share=10)),
    (Step("moto_sale"), Step("moto_sale_void", VOUCHER)),
    (Step("preauth"), Step("additional_preauth", share=30), Step("preauth_void")),
    (Step("moto_preauth"), Step("moto_completion", share=90), Step("moto_completion_void")),
    (Step("moto_preauth"), Step("moto_preauth_void")),
    (Step("instalment_sale"), Step("instalment_sale_void")),
    (Step("points_sale"), Step("points_sale_void")),
    (Step("points_balance"),),
    (Step("reservation_sale"), Step("reservation_sale_void")),
    (Step("account_load"),),
    (Step("cash_load_verify"), Step("cash_load"), Step("cash_load_confirm")),
    (Step("transfer"),),
    (Step("assisted_withdrawal"),),
    (Step("instalment_sale", heard=False),),
    (Step("account_load", heard=False),),
)
"""Every row and every way to present a card; each terminal begins with another chain."""


class Chips:
    """The chips of all cards: each one's counter, which all terminals share, and its cryptograms (3DES, version 01)."""

    def __init__(self, portfolio: Portfolio) -> None:
        self._portfolio = portfolio
        self._counters: dict[str, int] = {}

    def data(self, card: Card, amount: str, nonce: bytes) -> bytes:
        """DE55 of an online request by contact (`nonce` 4 bytes, `amount` DE4)."""
        counter = self._counters[card.pan] = self._counters.get(card.pan, 0) + 1
        imk = self._portfolio.master_key(card.issuer.institution, "3des", "ac")
        session = session_key("3des", card_key("3des", imk, card.pan, _SEQUENCE[-2:]), counter)
        values = {
            "9F27": b"\x80", "9F10": bytes.fromhex("07010103A0000201"), "9F37": nonce,
            "9F36": counter.to_bytes(2, "big"), "95": bytes(5), "9A": bytes.fromhex("261028"), "9C": b"\0",
            "9F02": bytes.fromhex(amount), "5F2A": b"\x01\x56", "82": b"\x7c\0", "9F1A": b"\x01\x56",
            "9F03": bytes(6), "9F33": b"\xe0\xe9\xc8",
        }  # fmt: skip
        arqc = application_cryptogram("3des", session, ac_input(0x01, values, values["9F10"]))
        return tlv.write({"9F26": arqc, **values})


class Script:
    """The dialogues of one terminal, one after another: `next` gives the flow, `after` is told how it ended.

    `chips` are shared by the scripts whose cards are the same.
    """

    def __init__(
        self,
        memory: Memory,
        line: Line,
        portfolio: Portfolio,
        issuers: Sequence[int],
        seed: int,
        place: int,
        chips: Chips,
    ) -> None:
        self._chips = chips
        self.memory = memory
        self.line = line
        self._portfolio = portfolio
        self._issuers = list(issuers)
        self._draw = random.Random(seed * 1_000_003 + place)
        self._chains = islice(cycle(CHAINS), place % len(CHAINS), None)
        self._left: list[Step] = []
        self._items: list[Item] = []
        self.step = Step("sale")
        memory.stan = stans_of(place)

    def next(self) -> Flow[Outcome]:
        """The next dialogue."""
        if not self._left:
            self._left, self._items = list(next(self._chains)), []
        step = self.step = self._left.pop(0)
        row = BY_NAME[step.kind]
        original = next((item for item in reversed(self._items) if item.kind in row.of), None)
        card = self._card() if original is None else self._portfolio.find(original.pan)
        if step.entry == VOUCHER:
            card = None
        amount = 0
        if row.amount:
            amount = self._draw.randrange(1_011, 40_000) if original is None else original.total_minor
            amount = amount * step.share // 100
        more = extras(row, self._card().pan)
        entry = pos.KEYED if step.entry == KEYED else pos.SWIPED
        flow = pos.transact(
            self.memory, self.line, step.kind, card, amount, original, entry=entry, pin=step.pin, **more
        )
        if step.entry == CHIP and card is not None:
            chips, chosen, nonce = self._chips, card, self._draw.randbytes(8)[:4]
            flow = inserted(flow, self.memory, self.line, lambda amount: chips.data(chosen, amount, nonce))
        return flow if step.heard else unheard(flow, self.line)

    def after(self, outcome: Outcome) -> None:
        """How it ended."""
        if outcome.approved and outcome.kind == self.step.kind and outcome.item is not None:
            self._items.append(outcome.item)
        else:
            self._left = []

    def answer(self, asked: Ask) -> Any:
        """What the holder enters: the PIN, or another one."""
        return asked.about.pin if self.step.right else wrong_pin(asked.about)

    def _card(self) -> Card:
        return drawn_card(self._portfolio, self._issuers, self._draw)


def stans_of(place: int) -> int:
    """After which number the trace numbers of the terminal at this place begin."""
    return FIRST_STAN + place * 1_000 % 250_000


def wrong_pin(card: Any) -> str:
    """Six digits that are not the card's."""
    return f"{(int(card.pin) + 1) % 1_000_000:06d}"


def drawn_card(portfolio: Portfolio, issuers: Sequence[int], draw: random.Random) -> Card:
    """Any card of these issuers that is in order."""
    while True:
        card = portfolio.card(draw.choice(issuers), draw.randrange(portfolio.cards_per_issuer))
        if card.status == "normal" and card.expiry > "3501":
            return card


def inserted(flow: Flow[Outcome], memory: Memory, line: Line, data: Callable[[str], bytes]) -> Flow[Outcome]:
    """The dialogue `flow` with its card inserted instead of swiped: DE22, DE23, DE55 and DE60 say so. `data` makes DE55
    for an amount (DE4)."""

    def each(effect: FlowEffect) -> Flow[Any]:
        if isinstance(effect, Call):
            effect = effect._replace(body=_with_chip(memory, line, effect.body, data))
        return (yield effect)

    return through(flow, each)


def unheard(flow: Flow[Outcome], line: Line) -> Flow[Outcome]:
    """The dialogue `flow` at a terminal that takes no notice of the answer to its request."""

    def each(effect: FlowEffect) -> Flow[Any]:
        answer = yield effect
        if isinstance(effect, Call) and line.codec.peek(effect.body, ())[0] in ("0100", "0200"):
            raise TimedOut
        return answer

    return through(flow, each)


def _with_chip(memory: Memory, line: Line, body: bytes, data: Callable[[str], bytes]) -> bytes:
    try:
        message = line.codec.decode(body)
    except DecodeError:
        return body
    item = memory.items[-1] if memory.items else None
    if item is None or 35 not in message or message.get(11) != item.stan or item.kind not in _CHIP_KINDS:
        return body  # a sign-in or a reversal on the way to it
    item.entry_mode = _CONTACT + item.entry_mode[2]
    fields = dict(message.fields)
    del fields[64]
    fields[22], fields[23] = item.entry_mode, _SEQUENCE
    fields[55] = data(fields.get(4, "0" * 12))
    fields[60] = fields[60][:11] + _READS_CHIP + fields[60][12:]
    return sealed(memory, line, message.mti, fields)
