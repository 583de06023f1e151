"""`shoudan tap` and `insert` through a switch: the whole house in memory answers, and the command says what it said."""

from typing import Any

import pytest
from house import House

from terminals.card.mint import Minter
from terminals.drive import instant
from terminals.flow import Flow
from terminals.kernel.session import Request
from terminals.look.chosen import Chosen, Issued
from terminals.look.document import document
from terminals.look.glass import Order, Taken
from terminals.look.hosted import KINDS, NotSent, look_through
from terminals.look.setting import PRESETS


class InMemory:
    """A session whose host is a function."""

    def __init__(self, host: Any) -> None:
        self.host = host

    def run(self, flow: Flow[Any], holder: Any, reader: Any = instant.no_card) -> Any:
        return instant.run(flow, self.host, holder, reader)


def chosen(house: House, profile: str) -> Chosen:
    issuers = house.portfolio
    found = (issuers.card(place, n) for n in range(500) for place in (0, 2))
    card = next(c for c in found if c.chip == profile and c.status == "normal" and c.expiry > "30")
    institution = card.issuer.institution

    def key(suite: str, use: str) -> bytes:
        return issuers.master_key(institution, suite, use)

    return Chosen(
        card, Minter(issuers, 7).image(card), Issued(card.pan, card.psn, institution, key, False, True), "house"
    )


def through(house: House, profile: str, interface: Any, amount: int, kind: str = "sale", **changes: Any) -> Taken:
    card = chosen(house, profile)
    request = Request(amount, "261028", "101500")
    changes = {"issued": card.issued, "setting": PRESETS["shop"], "seed": 7} | changes
    order = Order(interface=interface, chosen=card, request=request, **changes)
    return look_through(order, kind, house.memories[0], house.line, InMemory(house.ask))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("profile", "interface", "amount"),
    [("debit", "contact", 2000), ("credit", "contactless", 2000), ("sm", "contact", 30000)],
)
def test_a_sale_that_goes_online(profile: str, interface: str, amount: int) -> None:
    taken = through(House(), profile, interface, amount)
    whole = document(taken)
    assert (whole["host"]["state"], whole["host"]["arc"], whole["approved"]) == ("approved", "00", True)
    assert "91" in [node["tag"] for node in whole["host"]["field55"]]
    assert whole["host"]["open"] == ""
    if interface == "contact":
        assert whole["completed"]["issuer_authenticated"] is True
        names = [step["en"] for step in whole["apdus"]]
        assert names[whole["issuer_apdus_from"] - 1 :] == ["EXTERNAL AUTHENTICATE", "GENERATE AC"]
    assert taken.order.chosen.issued.pan not in str(whole)


def test_what_the_card_paid_by_itself_is_uploaded() -> None:
    house = House()
    whole = document(through(house, "dual", "contactless", 500))
    assert whole["host"]["arc"] == "Y1"
    assert whole["host"]["text"]["en"] == "approved by the card; its certificate is uploaded"
    assert house.memories[0].offline == []
    assert whole["e_cash"] == {"before_minor": 10000, "after_minor": 9500}


def test_a_counter_seen_before_is_refused_and_one_that_goes_up_is_not() -> None:
    house = House()
    assert through(house, "debit", "contactless", 2000).approved
    again = through(house, "debit", "contactless", 2000)
    assert (again.approved, again.host["arc"]) == (False, "63")
    assert through(house, "debit", "contactless", 2000, atc=1).approved


def test_a_host_that_is_silent_from_the_start() -> None:
    house = House()
    card = chosen(house, "debit")
    order = Order(
        interface="contact",
        chosen=card,
        request=Request(2000, "261028", "101500"),
        issued=card.issued,
        setting=PRESETS["shop"],
    )
    with pytest.raises(NotSent, match="sign_in"):
        look_through(order, "sale", house.memories[0], house.line, InMemory(lambda body: None))  # type: ignore[arg-type]


def test_the_kinds_it_takes() -> None:
    assert {"sale", "preauth", "balance"} <= set(KINDS)
    assert not {"sale_void", "refund", "chip_offline_sale"} & set(KINDS)
