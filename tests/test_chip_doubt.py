"""Chips in doubt: silence and loss of power at each call to the host and at each command to the card.

Afterwards the terminal puts itself right from its memory, settles, and all books must agree: what the terminal holds
for approved is what the issuers have posted, and card balances, certificates not uploaded and loads in doubt come to
the shadow accounts.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Final

import pytest
from chip_shop import Shop
from test_chip_flows import e_cash

from terminals.device import chip, load, pos
from terminals.drive.instant import cut_at
from terminals.flow import Flow, HostUnreachable, PowerOff
from terminals.kernel.session import CONTACT, CONTACTLESS

Start = Callable[[Shop], Flow[Any]]

FLOWS: Final[dict[str, tuple[str, str, Start]]] = {
    "sale by contact": (
        "debit", CONTACT, lambda shop: chip.insert(shop.memory, shop.line, "sale", shop.card, 1_100)
    ),
    "sale by tap": ("debit", CONTACTLESS, lambda shop: chip.tap(shop.memory, shop.line, "sale", shop.card, 1_200)),
    "e-cash by contact": ("dual", CONTACT, lambda shop: chip.insert(shop.memory, shop.line, "sale", shop.card, 100)),
    "e-cash by tap": ("dual", CONTACTLESS, lambda shop: chip.tap(shop.memory, shop.line, "sale", shop.card, 100)),
    "sale after e-cash": (
        "dual", CONTACT, lambda shop: chip.insert(shop.memory, shop.line, "sale", shop.card, 60_000)
    ),
    "load": ("dual", CONTACT, lambda shop: load.designated(shop.memory, shop.line, shop.card, 500)),
    "cash load": ("dual", CONTACT, lambda shop: load.cash(shop.memory, shop.line, shop.card, 500)),
}  # fmt: skip


STEPS: Final = {
    "sale by contact": 16, "sale by tap": 2, "e-cash by contact": 14, "e-cash by tap": 7, "sale after e-cash": 16,
    "load": 18, "cash load": 18,
}  # fmt: skip
"""The last command of each."""


def begin(name: str) -> tuple[Shop, str, Start]:
    """A till that has a script result and a certificate to tell, where the card makes such."""
    profile, interface, start = FLOWS[name]
    shop = Shop(profile, 1)
    shop.sign_in()
    return shop, interface, start


def prepare(shop: Shop, name: str) -> None:
    """Something is owed before: a certificate, and the result of a script."""
    if name == "sale after e-cash":
        assert shop.run(load.cash(shop.memory, shop.line, shop.card, 300)).approved
        assert shop.run(chip.tap(shop.memory, shop.line, "sale", shop.card, 200), interface=CONTACTLESS).approved


def posted(shop: Shop) -> int:
    """What the holder's account has paid."""
    return sum(row["posted_minor"] for row in shop.house.ledger_rows() if row["effect"] not in ("leg", "e_cash"))


def after(shop: Shop, torn_e_cash: int = 0) -> None:
    """Put right, settle, and look into all books."""
    shop.host, shop.dark_at, shop.torn_at, shop.lost = shop.house.ask, -1, -1, False
    settled = shop.run(pos.settle(shop.memory, shop.line))
    assert settled.approved
    assert not shop.memory.owes
    assert shop.memory.offline == []
    shop.house.pass_time(70)
    book = e_cash(shop)
    assert book.difference_minor == -torn_e_cash
    assert book.balanced or torn_e_cash


def books_agree(shop: Shop) -> None:
    result = shop.house.books()
    assert result.breaks == []


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("how", ["silence", "lost answer", "unreachable", "power before", "power after"])
def test_cut_at_every_call(name: str, how: str) -> None:
    shop, interface, start = begin(name)
    prepare(shop, name)
    calls = 0
    while True:
        before = len(shop.said)
        shop.host = _cut(shop, calls, how)
        with contextlib.suppress(PowerOff):
            shop.run(start(shop), interface=interface)
        cut = len(shop.said) - before > calls
        after(shop)
        if not cut:
            break
        calls += 1
        prepare(shop, name)
        shop.said.clear()
    assert calls == {"sale after e-cash": 3, "e-cash by contact": 0, "e-cash by tap": 0}.get(name, 2)
    books_agree(shop)


def _cut(shop: Shop, number: int, how: str) -> Callable[[bytes], bytes | None]:
    """A host that is cut at one call; the terminal has to sign in again after each settlement, which is not counted."""
    if how.startswith("power"):
        return cut_at(number, shop.house.ask, after=how == "power after")
    count = 0

    def host(body: bytes) -> bytes | None:
        nonlocal count
        count += 1
        if count - 1 != number:
            return shop.house.ask(body)
        if how == "unreachable":
            raise HostUnreachable
        if how == "lost answer":
            shop.house.ask(body)
        return None

    return host


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("lost", [False, True], ids=["unheard", "heard"])
def test_power_lost_at_every_command_to_the_card(name: str, lost: bool) -> None:
    shop, interface, start = begin(name)
    step, torn = 0, 0
    while True:
        balance = shop.icc.state.balance
        paid = posted(shop)
        shop.dark_at, shop.lost = step, lost
        try:
            shop.run(start(shop), interface=interface)
        except PowerOff:
            ended = False
        else:
            ended = True
        moved = shop.icc.state.balance - balance
        if not ended and name.startswith("e-cash") and moved:
            if interface == CONTACT:
                torn += 100  # the certificate went down with the terminal: the card's log has it
            else:
                _comes_back(shop, start)
        after(shop, torn)
        if "load" in name:
            _load_is_told_truthfully(shop, posted(shop) - paid, moved)
        if ended:
            break
        step += 1
    assert step >= STEPS[name] + 1  # torn taps are asked about first
    assert torn <= 100
    books_agree(shop)


def _comes_back(shop: Shop, start: Start) -> None:
    """A card torn in the field returns: what it paid stands, and it pays nothing again."""
    shop.dark_at = -1
    balance = shop.icc.state.balance
    (torn,) = [item for item in shop.memory.torn if item.chip.atc == shop.icc.state.atc]
    again = shop.run(start(shop), interface=CONTACTLESS)
    assert (again.state, again.reason, again.item) == ("approved", "offline", torn)
    assert (shop.icc.state.balance, torn.state) == (balance, "offline")


def _load_is_told_truthfully(shop: Shop, paid: int, moved: int) -> None:
    """Who has the load has paid for it, and who has paid for one without having it stands among the loads in doubt."""
    assert moved in (0, 500)
    assert abs(paid) in (moved, 500)
    if abs(paid) != moved:
        assert [entry.amount_minor for entry in e_cash(shop).loads]
