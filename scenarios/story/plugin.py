"""The pytest plugin: fixtures `switch`, `centre`, `terminal` and `card` for stories in Python.

    def test_a_sale(terminal, switch):
        sale = terminal.do("sale", amount=12, expect={"answer": "00", "books": {"balanced": True}})
        assert sale.seen("to-host")[0].fields[4] == "000000001200"

By default a signed-in stripe terminal and a debit card of another bank. `@pytest.mark.story(terminal="tap-shop",
card="dual")` casts others; `cast={...}` casts everybody as in a story file, with `house.terminals` and `house.cards`.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from scenarios.story.house import Centre, House, Switch, Terminal
    from switch.issuer.portfolio import Card

MARK = "story"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", f"{MARK}(terminal, card, cast, hosts, profile, date): whom a Shoudan test casts")


@pytest.fixture
def house(request: pytest.FixtureRequest) -> "House":
    """The virtual house of this test."""
    from scenarios.story.house import House

    told: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(MARK))):
        told.update(mark.kwargs)
    terminal, card = told.pop("terminal", "shop"), told.pop("card", "debit-stripe")
    cast = told.pop("cast", None) or {
        "t1": {"terminal": terminal, "signed-in": True}, "c1": {"card": card},
    }  # fmt: skip
    return House(cast, **told)


@pytest.fixture
def terminal(house: "House") -> "Terminal":
    """The first terminal of the cast."""
    return next(iter(house.terminals.values()))


@pytest.fixture
def card(house: "House") -> "Card":
    """The first card of the cast."""
    return next(iter(house.cards.values()))


@pytest.fixture
def switch(house: "House") -> "Switch":
    """The switch."""
    return house.switch


@pytest.fixture
def centre(house: "House") -> "Centre":
    """The network's centre; the own bank's core is `house.core`."""
    return house.centre
