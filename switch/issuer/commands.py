"""What a chip is told with an answer: the ARPC, the new balance of a load, and orders (scripts) that wait for it."""

from collections.abc import Iterable
from typing import Any, Final

from switch.crypto.script import AFTER, BEFORE, template
from switch.issuer.chipdata import ChipData, ScriptResult
from switch.wire import tlv

KINDS: Final = {"app_block": BEFORE, "app_unblock": AFTER, "card_block": BEFORE, "pin_unblock": AFTER}
"""Orders, and the template each travels in: what blocks comes before the second GENERATE AC."""

SENDINGS_MAX: Final = 3
"""How often an order is sent without a word of what became of it."""
ANSWER_MAX: Final = 255
"""Bytes of DE55."""


class Order:
    """One order: its kind, its number among the card's orders, how often it was sent."""

    __slots__ = ("kind", "number", "sendings")

    def __init__(self, kind: str, number: int) -> None:
        self.kind = kind
        self.number = number
        self.sendings = 0

    @property
    def script_id(self) -> bytes:
        """What names it in 9F18 and in DF31."""
        return order_id(self.number)

    def __repr__(self) -> str:
        return f"Order({self.kind} {self.number})"


def load_id(atc: int) -> bytes:
    """The script identifier (9F18) of a load's command: the transaction's counter and 0001."""
    return atc.to_bytes(2, "big") + b"\0\1"


def order_id(number: int) -> bytes:
    """The script identifier of an order."""
    return b"\xff\xff" + (number & 0xFFFF).to_bytes(2, "big")


class Orders:
    """The orders of one card that wait to be carried out. Each change is one line of text, which brings it back."""

    __slots__ = ("_count", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Order] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, kind: str) -> str:
        """A new order, told in words; "" where the same waits already. KeyError for an unknown kind."""
        if kind not in KINDS:
            raise KeyError(kind)
        if any(order.kind == kind for order in self._waiting):
            return ""
        self._count += 1
        self._waiting.append(Order(kind, self._count))
        return f"ordered {kind} {self._count}"

    def due(self) -> list[Order]:
        """Orders to go out with the next answer."""
        return list(self._waiting)

    def sent(self, order: Order) -> str:
        """An order has gone out; the last time it may, it is given up."""
        order.sendings += 1
        if order.sendings >= SENDINGS_MAX:
            self._waiting.remove(order)
        return f"sent {order.kind} {order.number}"

    def results(self, results: Iterable[ScriptResult]) -> list[str]:
        """What a notice says of orders, in words; one that failed stays."""
        told = []
        for result in results:
            order = next((order for order in self._waiting if order.script_id == result.script_id), None)
            if order is not None:
                told.append(f"{'done' if result.done else 'failed'} {order.kind} {order.number}")
                if result.done:
                    self._waiting.remove(order)
        return told

    def take_up(self, detail: str) -> None:
        """One line of text of an earlier run."""
        what, kind, number = detail.split()
        if what == "ordered":
            self._count = int(number)
            self._waiting.append(Order(kind, self._count))
            return
        order = next((order for order in self._waiting if order.number == int(number)), None)
        if order is not None and what == "sent":
            self.sent(order)
        elif order is not None and what == "done":
            self._waiting.remove(order)


def answer_of(data: ChipData, keys: Any, response_code: str, new_balance_minor: int, orders: list[Order]) -> bytes:
    """DE55 of an answer to a chip that has proved itself: counter, ARPC by method 1, commands.

    `keys` is the card in this transaction (`cardkeys.Chip`), `new_balance_minor` what a load writes (-1: none). Orders
    that find no room are left out of the list in place.
    """
    arc = response_code.encode("ascii")
    icc_data = tlv.write((("9F36", data.values["9F36"]), ("91", keys.arpc(data.ac, arc) + arc)))
    writer = keys.script(data.ac)
    if new_balance_minor >= 0:
        command = writer.put_data("9F79", bytes.fromhex(f"{new_balance_minor:012d}"))
        icc_data += template([command], load_id(data.atc), AFTER)
    for order in tuple(orders):
        script = template([getattr(writer, order.kind)()], order.script_id, KINDS[order.kind])
        if len(icc_data) + len(script) > ANSWER_MAX:
            orders.remove(order)
            continue
        icc_data += script
    return icc_data
