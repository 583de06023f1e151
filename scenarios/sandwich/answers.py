"""The words of the table that speak of the switch's answer to the terminal (see `checks`)."""

from scenarios.sandwich.seen import VALID
from scenarios.sandwich.view import MADE_UP, MISSING, OTHER, Verdict, View, agree, must_be


def no_other_card(view: View, de: int) -> Verdict:
    """A card number in an answer is the card's."""
    return None if view.front.get(2) is None else "" if view.front.card == view.request.card else "another card"


def terminals_own(view: View, de: int) -> Verdict:
    """As the terminal asked; it may be left out."""
    value = view.front.get(de)
    if value is None or (de == 4 and view.front.get(39) == "10"):
        return None
    return "" if value == view.request.get(de) else OTHER


def returned(view: View, de: int) -> Verdict:
    """As the centre answered."""
    return agree(view.back.get(de), view.front.get(de))


def returned_rrn(view: View, de: int) -> Verdict:
    """The RRN of the request on the line."""
    return must_be(view.front.get(37), view.sent.get(37))


def mapped(view: View, de: int) -> Verdict:
    """The centre's code through the profile's map."""
    code = view.back.get(39)
    return must_be(view.front.get(39), view.profile.response_map.get(code, code))


def institutions(view: View, de: int) -> Verdict:
    """The issuer in DE44."""
    issuer, told = view.back.get(100), view.front.get(44)
    if issuer is None:
        return None
    return MISSING if told is None else "" if told[:11].strip() == issuer.strip() else "another institution"


def balances(view: View, de: int) -> Verdict:
    """One of the centre's balances."""
    given, told = view.back.get(54), view.front.get(54)
    if given is None:
        return None if told is None else MADE_UP
    if told is None:
        return MISSING
    entries = {given[at : at + 20] for at in range(0, len(given), 20)}
    return "" if told and all(told[at : at + 20] in entries for at in range(0, len(told), 20)) else OTHER


def answer_mac(view: View, de: int) -> Verdict:
    """DE64 of an approval."""
    if view.front.get(39) not in ("00", "10"):
        return None
    return "" if view.front.mac == VALID else view.front.mac


def no_secrets(view: View, de: int) -> Verdict:
    """Neither track nor PIN block."""
    there = [n for n in (35, 36, 52) if view.front.get(n) is not None]
    return "" if not there else f"DE{there[0]} is there"
