"""Chip cards in people's hands: one place at a time, a memory between visits, cards that leave too early."""

import pytest
from cards import AID, TTQ, entropy, portfolio

from scenarios.planted import WHOLE, in_order, planted_for
from switch.issuer.portfolio import Card
from switch.wire import apdu
from switch.wire.chips import load_chips
from switch.wire.codes import RESPONSE_CODES
from terminals.card.mint import Minter
from terminals.card.profile import load, shipped
from terminals.flow import CardRemoved
from terminals.hands import CONTACT, CONTACTLESS, Hand, Hands
from terminals.readers import Readers

DUAL = "A000000333010101"


def card_with(chip: str, issuer: int = 0) -> Card:
    cards = (portfolio().card(issuer, n) for n in range(500))
    return next(card for card in cards if card.chip == chip and card.status == "normal" and card.expiry > "30")


@pytest.fixture
def hands() -> Hands:
    return Hands(Minter(portfolio(), 7), 100, entropy)


def pay(hand: Hand, amount_minor: int) -> None:
    """A tap of electronic cash as a terminal makes it, to the last record."""
    hand(apdu.select(bytes.fromhex(DUAL)))
    values = bytes.fromhex(
        TTQ + f"{amount_minor:012d}" + "000000000000" + "0156" + "0000000000" + "0156" + "261122" + "00" + "11223344"
    )
    answer = hand(apdu.gpo(values))
    at = answer.index(b"\x94") + 1
    afl = answer[at + 1 : at + 1 + answer[at]]
    for place in range(0, len(afl), 4):
        for record in range(afl[place + 1], afl[place + 2] + 1):
            hand(apdu.read_record(afl[place] >> 3, record))


@pytest.mark.parametrize("name", sorted(shipped()))
def test_issuer_and_chip_know_the_same_of_electronic_cash(name: str) -> None:
    """9F79 and 9F77 of each profile are what the portfolio says of its cards."""
    card = card_with(name, 2 if name in AID and "credit" in name else 0)
    main = load(name).applications[0]
    issued, most = main.objects.get("9F79", b""), main.objects.get("9F77", b"")
    assert card.e_cash_minor == int(issued.hex() or "0")
    assert card.e_cash_max_minor == int(most.hex() or "0")


def test_a_card_is_in_one_place_at_a_time(hands: Hands) -> None:
    card = card_with("dual")
    hand = hands.take(card, CONTACTLESS)
    assert hand is not None
    assert hands.take(card, CONTACT) is None
    hands.put(hand)
    assert hands.take(card, CONTACT) is not None
    assert hands.used == 1


def test_what_cannot_be_read_is_not_taken(hands: Hands) -> None:
    assert hands.take(card_with(""), CONTACT) is None
    assert hands.take(card_with("composite"), CONTACTLESS) is None
    away = card_with("dual")
    hands.put_away.add(away.pan)
    assert hands.take(away, CONTACT) is None
    assert hands.used == 0


def test_a_card_remembers_what_it_paid(hands: Hands) -> None:
    card = card_with("dual")
    hand = hands.take(card, CONTACTLESS)
    assert hand is not None
    pay(hand, 1_250)
    assert hand.balance_minor == 8_750
    hands.put(hand)
    again = hands.take(card, CONTACTLESS)
    assert again is not None
    assert (again.balance_minor, again.icc.state.atc) == (8_750, 1)
    hands.put(again)
    [holding] = hands.holdings()
    assert holding == (card.pan, 8_750, 10_000)
    assert card.pan not in repr(holding) + repr(hand) + repr(hands)


@pytest.mark.parametrize(("tear", "balance"), [("paying", 10_000), ("paid", 8_750)])
def test_a_card_that_leaves_too_early_does_so_once(hands: Hands, tear: str, balance: int) -> None:
    hand = hands.take(card_with("dual"), CONTACTLESS, tear)
    assert hand is not None
    with pytest.raises(CardRemoved):
        pay(hand, 1_250)
    assert (hand.balance_minor, hand.torn, hand.tear) == (balance, 1, "")
    with pytest.raises(CardRemoved):
        hand(apdu.get_data("9F79"))
    assert hand.again()
    pay(hand, 1_250)
    assert hand.balance_minor == balance - 1_250


def test_cards_that_have_no_electronic_cash_hold_none(hands: Hands) -> None:
    hand = hands.take(card_with("debit"), CONTACT)
    assert hand is not None
    hands.put(hand)
    assert list(hands.holdings()) == []


def told(**changed: object) -> dict[str, object]:
    fine = {
        "planted": dict(WHOLE),
        "came": {"forged": {"05": 10}, "replayed": {"94": 50}, "flash": {"once": 20},
                 "swiped": {"58": 50, "by the terminal": 50}},
    }  # fmt: skip
    return fine | {"came": fine["came"] | changed}


def test_what_is_planted_must_come_to_what_it_must() -> None:
    assert (
        planted_for(2000, 20_000)
        == WHOLE
        == {"forged": 10, "replayed": 50, "flash": 20, "swiped": 100, "load_doubts": 5}
    )
    assert planted_for(50, 100) == {"forged": 1, "replayed": 5, "flash": 2, "swiped": 10, "load_doubts": 1}
    short = planted_for(50, 99.9)  # no certificate need be there in time
    assert short == {"forged": 0, "replayed": 0, "flash": 0, "swiped": 0, "load_doubts": 0}
    assert in_order(short, {"planted": short, "came": {}}, 0)
    assert in_order(WHOLE, told(), 5)
    assert not in_order(WHOLE, told(), 4)
    assert not in_order(WHOLE, told(replayed={"94": 49, "00": 1}), 5)
    assert not in_order(WHOLE, told(flash={"once": 19, "otherwise": 1}), 5)
    assert not in_order(WHOLE, told(swiped={"58": 50, "00": 50}), 5)
    assert not in_order(WHOLE | {"forged": 11}, told(), 5)
    assert RESPONSE_CODES["58"].fault != "system"


def test_readers_know_what_the_table_says() -> None:
    readers = Readers(load_chips(), lambda: ("261122", "101010"), entropy)
    assert [aid.aid.hex().upper() for aid in readers.parameters.aids] == [
        "A000000333010101", "A000000333010102", "A000000333010103", "A000000333010106",
    ]  # fmt: skip
