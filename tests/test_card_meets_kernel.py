"""Card and kernel, which know of each other only bytes: what comes out, and one debit whatever is torn."""

from typing import Any

import pytest
from cards import arpc, entropy, icc

from switch.wire import tlv
from terminals.card.card import Icc
from terminals.card.profile import shipped
from terminals.card.signing import ca_keys
from terminals.flow import Apdu, Ask, CardRemoved, Flow
from terminals.kernel import contact, tap
from terminals.kernel.parameters import demo_parameters
from terminals.kernel.session import Kernel, Request

KERNEL = Kernel(demo_parameters(ca_keys()), entropy)
PURSES = {"dual": 10000, "sm": 10000, "dual_algorithm": 10000, "social": 10000, "ecash": 20000}


def run(flow: Flow[Any], card: Icc, torn_at: int = -1, lost: bool = False) -> tuple[Any, int]:
    """Drives a flow against a card that leaves at one step, before the command or with its answer, and comes back."""
    steps = 0
    answers = {"application": 0, "pin": "123456", "offline_pin": card.image.pin, "holder_id": True, "tap_again": True}
    try:
        effect = next(flow)
        while True:
            if isinstance(effect, Apdu):
                steps += 1
                if steps - 1 == torn_at:
                    if lost:
                        card.transmit(effect.command)
                    card.tear()
                    effect = flow.throw(CardRemoved())
                    continue
                answer: Any = card.transmit(effect.command)
            else:
                assert isinstance(effect, Ask)
                answer = answers[effect.what]
                if effect.what == "tap_again":
                    card.reset()
            effect = flow.send(answer)
    except StopIteration as stop:
        return stop.value, steps


def request(minor: int) -> Request:
    return Request(minor, "261122", "101010")


@pytest.mark.parametrize("profile", shipped())
def test_a_payment_on_contacts(profile: str) -> None:
    card = icc(profile)
    purse = PURSES.get(profile)
    done, _ = run(contact.start(KERNEL, request(1000)), card)
    assert done.tvr >> 32 == 0  # offline data authentication performed, and not failed
    if purse:
        assert (done.outcome, done.e_cash, done.balance_minor) == ("approved", True, purse - 1000)
        assert card.state.balance == purse - 1000
        return
    assert done.outcome == "online"
    answer = contact.Answer("00", tlv.write([("91", arpc(card, done.values["9F26"]))]))
    end, _ = run(contact.complete(done.session, answer), card)
    assert (end.outcome, end.reversal_needed) == ("approved", False)
    assert card.state.last_online == 1


@pytest.mark.parametrize("profile", [name for name in shipped() if name != "composite"])
def test_a_tap(profile: str) -> None:
    card = icc(profile, "contactless")
    done, _ = run(tap.tap(KERNEL, request(1000)), card)
    purse = PURSES.get(profile)
    assert done.outcome == ("approved" if purse else "online")
    assert card.state.balance == (purse - 1000 if purse else 0)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("step", range(8))
def test_a_flash_card_pays_once(step: int, lost: bool) -> None:
    card = icc("dual", "contactless")
    done, steps = run(tap.tap(KERNEL, request(1000)), card, step, lost)
    assert steps > 8
    assert done.outcome == "approved"
    assert card.state.balance == 9000
    assert len(card.state.trades) == 45
