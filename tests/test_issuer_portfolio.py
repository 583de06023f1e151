"""Cards from one seed: the same everywhere, plainly invented, found again by their number alone."""

import pickle

import pytest

from switch.issuer.portfolio import STANDARD_ISSUERS, ZERO_RUN, Issuer, Portfolio, luhn_digit

PORTFOLIO = Portfolio(7, STANDARD_ISSUERS, 400)
ALL = [PORTFOLIO.card(index, n) for index in range(len(STANDARD_ISSUERS)) for n in range(400)]


def test_every_number_is_found_again_and_is_unlike_any_other():
    assert len({card.pan for card in ALL}) == len(ALL)
    fresh = Portfolio(7, STANDARD_ISSUERS, 400)
    for card in ALL:
        assert fresh.find(card.pan) == card
        assert fresh.issuer_of(card.pan) is card.issuer


def test_numbers_are_plainly_invented_and_well_formed():
    for card in ALL:
        assert "0" * ZERO_RUN in card.pan
        assert len(card.pan) == card.issuer.pan_digits
        assert luhn_digit(card.pan[:-1]) == card.pan[-1]
        assert any(card.pan.startswith(prefix) for prefix in card.issuer.bins)
        number, rest = card.track2.split("=")
        assert number == card.pan
        assert rest.startswith(card.expiry + ("220" if card.chip else "120"))
        assert len(card.track2) <= 37
        assert len(card.pin) == 6
        assert card.pin.isdecimal()
        assert card.credit is card.issuer.credit


def test_another_seed_makes_other_cards():
    other = Portfolio(8, STANDARD_ISSUERS, 400)
    assert sum(other.card(0, n).pin == PORTFOLIO.card(0, n).pin for n in range(400)) < 3


def test_some_cards_are_unfit_and_most_are_not():
    unfit = [card for card in ALL if card.status != "normal" or card.expiry < "2612"]
    assert {card.status for card in unfit} == {"normal", "lost", "stolen", "restricted"}
    assert len(unfit) < len(ALL) / 40


def test_the_longest_bin_decides():
    inner = PORTFOLIO.card(4, 3)
    assert inner.pan.startswith(STANDARD_ISSUERS[0].bins[0])
    assert PORTFOLIO.issuer_of(inner.pan) is STANDARD_ISSUERS[4]
    assert PORTFOLIO.bins()[0] == ("6212149000", "91040000")


@pytest.mark.parametrize(
    "pan",
    [
        "",
        "6212140000000000031",
        "6212140000000099990",
        "621214000000000003",
        "62121400000000000300",
        "6212140000900000030",
        "9999990000000000030",
        "621214000000000003X",
    ],
)
def test_numbers_never_minted_are_not_found(pan):
    assert PORTFOLIO.find(pan) is None


def test_nothing_shows_a_number_or_a_pin():
    card = PORTFOLIO.card(0, 3)
    for text in (repr(card), str(card), f"{card}", repr(PORTFOLIO), repr([card])):
        assert card.pan not in text
        assert card.pin not in text
    assert pickle.loads(pickle.dumps(card)) == card


@pytest.mark.parametrize(
    ("issuer", "text"),
    [
        (Issuer("91000000", "", "", ("62000",)), "six to ten digits"),
        (Issuer("91000000", "", "", ("620000", "620000")), "is taken"),
        (Issuer("91000000", "", "", ("620000",), pan_digits=20), "sixteen to nineteen"),
        (Issuer("91000000", "", "", ("6200001111",), pan_digits=16), "room for 0 cards"),
        (Issuer("91000000", "", "", ("620111",), pan_digits=16), "room for 10000 cards"),
    ],
)
def test_issuers_that_cannot_be_are_refused(issuer, text):
    with pytest.raises(ValueError, match=text):
        Portfolio(1, (issuer,), 20_000)


def test_a_card_beyond_the_last_is_an_error():
    with pytest.raises(IndexError):
        PORTFOLIO.card(0, 400)
